// The machine that figures were measured on, and how busy it was with other things.
import { readdirSync, readFileSync } from "node:fs";
import { arch, availableParallelism, cpus, freemem, loadavg, platform, release, totalmem } from "node:os";

export interface Machine {
  readonly cpu: string;
  /** Family, model and stepping, where the system tells: virtual machines hide the name. */
  readonly model: string | undefined;
  readonly cores: number;
  /** Cores that this process may use. */
  readonly usable: number;
  /** Name → bytes, of one core's caches: L1d, L2, L3. */
  readonly caches: Readonly<Record<string, number>>;
  readonly memory: number;
  readonly free: number;
  readonly system: string;
  readonly node: string;
  readonly load: number;
}

const read = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // not Linux, or not allowed
  }
};

/** Describes this machine; what a system does not tell is left out. */
export function describeMachine(): Machine {
  const info = read("/proc/cpuinfo");
  const number = (name: string): string | undefined => new RegExp(`^${name}\\s*: (\\d+)$`, "m").exec(info)?.[1];
  const family = number("cpu family");
  return {
    cpu: cpus()[0]?.model.trim() || "unknown",
    model: family && `family ${family}, model ${number("model")}, stepping ${number("stepping")}`,
    cores: cpus().length,
    usable: availableParallelism(),
    caches: cacheSizes(),
    memory: totalmem(),
    free: freemem(),
    system: `${platform()}-${arch()} ${release()}`,
    node: process.version,
    load: loadavg()[0],
  };
}

function cacheSizes(): Record<string, number> {
  const base = "/sys/devices/system/cpu/cpu0/cache";
  const sizes: Record<string, number> = {};
  let folders: string[] = [];
  try {
    folders = readdirSync(base).filter((name) => name.startsWith("index"));
  } catch {
    // not Linux
  }
  for (const folder of folders) {
    const fact = (name: string) => read(`${base}/${folder}/${name}`).trim();
    const size = /^(\d+)([KM])$/.exec(fact("size"));
    if (!size || fact("type") === "Instruction") continue;
    const name = `L${fact("level")}${fact("type") === "Data" ? "d" : ""}`;
    sizes[name] = Number(size[1]) * (size[2] === "K" ? 2 ** 10 : 2 ** 20);
  }
  return sizes;
}

/** Shares of the time since an earlier call that all cores spent working, and that the host gave to others. */
export interface Busyness {
  readonly busy: number;
  readonly steal: number;
}

/** Starts watching; the function returned tells what happened since. Zeros where the system does not tell. */
export function watchBusyness(): () => Busyness {
  const ticks = () => {
    const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0, steal = 0] =
      /^cpu +(.*)$/m.exec(read("/proc/stat"))?.[1].split(" ").map(Number) ?? [];
    const busy = user + nice + system + irq + soft;
    return { busy, steal, all: busy + steal + idle + wait };
  };
  const before = ticks();
  return () => {
    const now = ticks();
    const all = now.all - before.all || 1;
    return { busy: (now.busy - before.busy) / all, steal: (now.steal - before.steal) / all };
  };
}
