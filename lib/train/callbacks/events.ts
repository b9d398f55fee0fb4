// TensorBoard's event files, as far as scalars and texts need them.
//
// A file is a sequence of TFRecords (tensorflow/core/lib/io/record_writer.h): length as uint64, masked CRC-32C of those
// eight bytes, the bytes of an Event message, masked CRC-32C of those. Numbers of fields are those of
// tensorboard/compat/proto/{event,summary,tensor,tensor_shape}.proto; the encoding is that of Protocol Buffers.

/** CRC-32C (RFC 3720, appendix B.4) of each byte; 0x82f63b78 is the reflected polynomial. */
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  return crc;
});

export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ table[(crc ^ byte) & 0xff];
  return ~crc >>> 0;
}

/** Rotated and shifted, since the sum of bytes that have their own sum in them is no good check. */
function masked(bytes: Uint8Array): Buffer {
  const crc = crc32c(bytes);
  const sum = Buffer.alloc(4);
  sum.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0);
  return sum;
}

/** A message as a record of the file. */
export function record(message: Uint8Array): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(message.length));
  return Buffer.concat([length, masked(length), message, masked(message)]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

/** Fields by kind of value: whole numbers, numbers of eight and of four bytes, and what has a length. */
const int = (field: number, value: number): Buffer =>
  value === 0 ? Buffer.alloc(0) : Buffer.concat([varint(field * 8), varint(value)]); // 0 is the default and not written
const double = (field: number, value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return Buffer.concat([varint(field * 8 + 1), bytes]);
};
const float = (field: number, value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return Buffer.concat([varint(field * 8 + 5), bytes]);
};
const nested = (field: number, ...parts: readonly (Uint8Array | string)[]): Buffer => {
  const body = Buffer.concat(parts.map((p) => (typeof p === "string" ? Buffer.from(p) : p)));
  return Buffer.concat([varint(field * 8 + 2), varint(body.length), body]);
};

/** An Event: wall_time = 1 (in seconds), step = 2, then file_version = 3 or summary = 5. */
const event = (seconds: number, step: number, content: Uint8Array): Buffer =>
  Buffer.concat([double(1, seconds), int(2, step), content]);

/** The first event of a file. */
export const version = (seconds: number): Buffer => event(seconds, 0, nested(3, "brain.Event:2"));

/** Scalars of a step: Summary.value = 1 { tag = 1, simple_value = 2 }. */
export const scalars = (seconds: number, step: number, values: Readonly<Record<string, number>>): Buffer =>
  event(seconds, step, nested(5, ...Object.entries(values).map(([tag, v]) => nested(1, nested(1, tag), float(2, v)))));

/**
 * A text in Markdown, for the text plugin: a value { tag = 1,
 * tensor = 8 { dtype = 1: DT_STRING, tensor_shape = 2 {}, string_val = 8 }, metadata = 9 { plugin_data = 1 { plugin_name = 1 } } }.
 */
export const text = (seconds: number, step: number, tag: string, markdown: string): Buffer => {
  const metadata = nested(9, nested(1, nested(1, "text")));
  const tensor = nested(8, int(1, 7), nested(2), nested(8, markdown));
  return event(seconds, step, nested(5, nested(1, nested(1, tag), tensor, metadata)));
};
