// `nabla doctor`: prints the examination for a person, or for a program with --json.
import type { Examination } from "../examination.js";
import { examine } from "../index.js";
import { parse } from "./usage.js";

const help = `Usage: nabla doctor [--json]

Says which devices work here, which binary was loaded and why any other was refused, and what to do about it.
The exit code is 0 when the default device works.

  --json  the same for a program
`;

export function doctor(args: string[]): number {
  const options = parse(args, { json: { type: "boolean" } }, help);
  if (!options) return 0;
  const examination = examine();
  process.stdout.write(options.json ? `${JSON.stringify(examination, null, 2)}\n` : render(examination));
  return examination.defaultDevice.works ? 0 : 1;
}

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

function render(d: Examination): string {
  const lines: string[] = [];
  const line = (label: string, text: string) => lines.push(`${label.padEnd(10)} ${text}`);
  line("nablajs", d.versions.nabla);
  line("Node.js", `${d.versions.node}, Node-API ${d.versions.nodeApi}`);
  line("system", `${d.system.platform}-${d.system.arch}, ${d.system.os}, C library: ${d.system.libc}`);
  line("CPU", `${d.cpu.model}, ${d.cpu.cores} logical cores`);
  if (d.cpu.features.length) line("", d.cpu.features.join(" "));
  line("kernels", `${d.isa.name}: ${d.isa.why}`);
  line("threads", `${d.threads.count}: ${d.threads.why}`);
  line(
    "memory",
    `${gib(d.memory.machine)}, ${gib(d.memory.free)} free${d.memory.container ? `, container limit ${gib(d.memory.container)}` : ""}; ` +
      `tensors may take ${gib(d.memory.tensors)}, JavaScript objects ${gib(d.memory.heap)}`,
  );
  for (const [name, value] of Object.entries(d.environment)) line("variable", `${name}=${value}`);
  const attempts = ({ attempts, path: used }: Examination["addon"], optional = false) => {
    for (const { source, path, reason, remedy } of attempts) {
      if ((used || (optional && source !== "prebuild")) && reason === "there is no such file") {
        lines.push(`  · ${path} (${source}): not there`); // nothing to mend
        continue;
      }
      lines.push(`  ${reason ? (optional ? "·" : "✗") : "✓"} ${path} (${source})`);
      if (reason) lines.push(`      why:    ${reason}`);
      if (remedy) lines.push(`      remedy: ${remedy}`);
    }
  };
  lines.push("", `Native addon: ${d.addon.note}`);
  attempts(d.addon);
  lines.push("", `CUDA addon: ${d.cuda.note}`);
  attempts(d.cuda, true);
  lines.push("", "Devices:");
  for (const { name, works, test, composed } of d.devices) {
    lines.push(`  ${works ? "✓" : "✗"} ${name}: ${test}`);
    if (composed.length) lines.push(`      without kernels of their own: ${composed.join(", ")}`);
  }
  const { name, works, why } = d.defaultDevice;
  lines.push("", `${works ? "✓" : "✗"} default device: ${name} (${why})`, "");
  return lines.join("\n");
}
