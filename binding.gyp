# The addon through node-gyp. Sources and flags are those of native/sources.json.
{
  "variables": {
    "flags": ["<!@(node -p \"require('./native/sources.json').flags.join(' ')\")"]
  },
  "target_defaults": {
    "defines": ["NAPI_VERSION=8", "NAPI_CPP_EXCEPTIONS"],
    "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
    "cflags": ["<@(flags)", "-fvisibility=hidden", "-pthread", "-Wall", "-Wextra"],
    "cflags!": ["-fno-omit-frame-pointer"],
    "cflags_cc": ["-std=c++17", "-fvisibility-inlines-hidden"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
    "xcode_settings": {
      "CLANG_CXX_LANGUAGE_STANDARD": "c++17",
      "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
      "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
      "MACOSX_DEPLOYMENT_TARGET": "11.0",
      "OTHER_CFLAGS": ["<@(flags)"]
    },
    "msvs_settings": {
      "VCCLCompilerTool": {"ExceptionHandling": 1, "Optimization": 2, "AdditionalOptions": ["/std:c++17", "/utf-8"]}
    }
  },
  "targets": [
    {
      "target_name": "nablajs",
      "sources": ["<!@(node -p \"require('./native/sources.json').common.join(' ')\")"],
      "dependencies": ["baseline"],
      "conditions": [
        ["target_arch=='x64'", {"dependencies": ["avx2", "avx512"]}],
        ["target_arch=='arm64'", {"dependencies": ["neon"]}],
        [
          "OS=='linux'",
          {
            "ldflags": [
              "-static-libstdc++",
              "-static-libgcc",
              "-pthread",
              "-Wl,--version-script=<(module_root_dir)/native/exports.map",
              "-Wl,-z,nodelete"
            ]
          }
        ],
        [
          "OS=='mac'",
          {"xcode_settings": {"OTHER_LDFLAGS": ["-Wl,-exported_symbols_list,<(module_root_dir)/native/exports.txt"]}}
        ]
      ]
    },
    {
      "target_name": "baseline",
      "type": "static_library",
      "defines": ["NABLA_ISA=baseline"],
      "sources": ["<!@(node -p \"require('./native/sources.json').isa.baseline.sources.join(' ')\")"]
    }
  ],
  "conditions": [
    [
      "target_arch=='x64'",
      {
        "targets": [
          {
            "target_name": "avx2",
            "type": "static_library",
            "defines": ["NABLA_ISA=avx2"],
            "sources": ["<!@(node -p \"require('./native/sources.json').isa.avx2.sources.join(' ')\")"],
            "cflags": ["<!@(node -p \"require('./native/sources.json').isa.avx2.flags.join(' ')\")"],
            "xcode_settings": {
              "OTHER_CFLAGS": ["<!@(node -p \"require('./native/sources.json').isa.avx2.flags.join(' ')\")"]
            },
            "msvs_settings": {
              "VCCLCompilerTool": {
                "AdditionalOptions": ["<!@(node -p \"require('./native/sources.json').isa.avx2.msvc.join(' ')\")"]
              }
            }
          },
          {
            "target_name": "avx512",
            "type": "static_library",
            "defines": ["NABLA_ISA=avx512"],
            "sources": ["<!@(node -p \"require('./native/sources.json').isa.avx512.sources.join(' ')\")"],
            "cflags": ["<!@(node -p \"require('./native/sources.json').isa.avx512.flags.join(' ')\")"],
            "xcode_settings": {
              "OTHER_CFLAGS": ["<!@(node -p \"require('./native/sources.json').isa.avx512.flags.join(' ')\")"]
            },
            "msvs_settings": {
              "VCCLCompilerTool": {
                "AdditionalOptions": ["<!@(node -p \"require('./native/sources.json').isa.avx512.msvc.join(' ')\")"]
              }
            }
          }
        ]
      }
    ],
    [
      "target_arch=='arm64'",
      {
        "targets": [
          {
            "target_name": "neon",
            "type": "static_library",
            "defines": ["NABLA_ISA=neon"],
            "sources": ["<!@(node -p \"require('./native/sources.json').isa.neon.sources.join(' ')\")"]
          }
        ]
      }
    ]
  ]
}
