// Writing files so that nothing is lost: a new file takes the old one's place when it is complete and on the disk.
import { randomBytes } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/**
 * Writes a file through `write`. Whatever goes wrong, and also when the process is killed, the path holds either the old
 * file whole or the new one whole.
 */
export async function replaceFile(path: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  const folder = dirname(path);
  const fresh = join(folder, `.${basename(path)}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`);
  try {
    const file = await open(fresh, "wx");
    try {
      await write(file);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(fresh, path);
  } catch (error) {
    await rm(fresh, { force: true });
    throw error;
  }
  // The name too must be on the disk; not every system can do that for a folder.
  await open(folder, "r")
    .then((handle) => handle.sync().finally(() => handle.close()))
    .catch(() => {});
}
