// Saving the run, or its weights, while it goes on.
import { constants, existsSync } from "node:fs";
import { access, mkdir, rm, rmdir } from "node:fs/promises";
import { dirname, extname, join } from "node:path";
import { checkOptions, describe } from "../../check.js";
import { ValueError } from "../../errors.js";
import { load, type Saveable, save } from "../../io/checkpoint.js";
import { saveSafetensors } from "../../io/safetensors.js";
import { Callback, type Hooked, type Logs } from "../callback.js";
import { checkCount, checkNumber, type Mode, Monitor } from "./monitor.js";
import { Pattern } from "./pattern.js";
import { Stateful } from "./stateful.js";

export interface ModelCheckpointOptions {
  /** What `saveBestOnly` and `saveTopK` go by. Default `"val_loss"`. */
  monitor?: string;
  /** Whether smaller or larger is better; `"auto"` goes by the name. Default `"auto"`. */
  mode?: Mode;
  /** Save only what is better than all before. Default false. */
  saveBestOnly?: boolean;
  /** Keep the files of the k best epochs and delete those that fall out of them. Default: all are kept. */
  saveTopK?: number;
  /** Besides, save each epoch as `last` in the same folder. Default false. */
  saveLast?: boolean;
  /** Save the model's weights as a safetensors file instead of the state of the whole run. Default false. */
  saveWeightsOnly?: boolean;
  /** Save after every so many optimizer steps instead of after each epoch. */
  everyNTrainSteps?: number;
  /** With `saveBestOnly`: what the first one must be better than. */
  initialValueThreshold?: number;
}

type Kept = { readonly path: string; readonly value: number };

type Saved = {
  /** With `saveTopK` the files that are kept, the best one first. */
  kept: Kept[];
  best: Kept | undefined;
  latest: string | undefined;
};

/**
 * Saves the run at the end of each epoch, or only the best ones. The name of the file may have values in it, as in
 * Keras: `{epoch}` (from 1 on), `{step}` and the names in the logs, with Python's formats `02d`, `.4f`, `.2e`. Each file
 * takes its place whole, and one that falls out of the best is deleted after that.
 *
 * The file is a checkpoint (`io.load`) that training can continue from, or with `saveWeightsOnly` a safetensors file
 * for `model.loadStateDict(await io.loadSafetensors(path))`.
 *
 * @throws ValueError at construction for bad options and formats; after the first epoch for names that the logs lack
 * @example
 * new callbacks.ModelCheckpoint("runs/a/{epoch:02d}-{val_loss:.2f}.ckpt", { saveTopK: 3, saveLast: true });
 */
export class ModelCheckpoint extends Stateful<Saved> {
  private readonly pattern: Pattern;
  private readonly monitor: Monitor | undefined;
  private readonly settings: ModelCheckpointOptions;
  private epoch = 0;
  private savedStep = 0;

  constructor(filepath: string, options: ModelCheckpointOptions = {}) {
    super();
    const owner = "ModelCheckpoint";
    checkOptions(
      options,
      [
        ...["monitor", "mode", "saveBestOnly", "saveTopK", "saveLast", "saveWeightsOnly", "everyNTrainSteps"],
        "initialValueThreshold",
      ],
      owner,
    );
    if (typeof filepath !== "string" || filepath === "") {
      throw new ValueError(`${owner}: the path of the files comes first, got ${describe(filepath)}`);
    }
    const { monitor = "val_loss", mode, saveBestOnly, saveTopK, everyNTrainSteps, initialValueThreshold } = options;
    this.pattern = new Pattern(owner, filepath);
    if (saveTopK !== undefined) checkCount(owner, "saveTopK", saveTopK, 1);
    if (saveBestOnly && saveTopK !== undefined) {
      throw new ValueError(`${owner}: saveTopK: ${saveTopK} saves the best only; leave saveBestOnly out`);
    }
    const selects = saveBestOnly || saveTopK !== undefined;
    if (initialValueThreshold !== undefined) {
      checkNumber(owner, "initialValueThreshold", initialValueThreshold, Number.NEGATIVE_INFINITY);
      if (!saveBestOnly) throw new ValueError(`${owner}: initialValueThreshold is for saveBestOnly`);
    }
    if (everyNTrainSteps !== undefined) {
      checkCount(owner, "everyNTrainSteps", everyNTrainSteps, 1);
      if (selects) {
        throw new ValueError(
          `${owner}: ${saveBestOnly ? "saveBestOnly" : "saveTopK"} goes by values of whole epochs; leave everyNTrainSteps out`,
        );
      }
      this.pattern.check(["epoch", "step"]);
    }
    this.monitor = selects ? new Monitor(owner, monitor, mode) : undefined;
    this.settings = options;
  }

  protected override fresh(): Saved {
    return { kept: [], best: undefined, latest: undefined };
  }

  override get last(): boolean {
    return true;
  }

  /** The file of the best epoch, and its value; undefined without `saveBestOnly` or `saveTopK`. */
  get best(): Kept | undefined {
    return this.state.best;
  }

  /** The file of the latest epoch (or step) that was saved. */
  get latest(): string | undefined {
    return this.state.latest;
  }

  override async onTrainBegin(logs: Logs): Promise<void> {
    super.onTrainBegin(logs);
    this.monitor?.check(this.loop);
    this.savedStep = this.loop.globalStep;
    const folder = dirname(this.pattern.text);
    if (/[{}]/.test(folder)) return;
    await mkdir(folder, { recursive: true });
    await access(folder, constants.W_OK); // better now than after an epoch
  }

  override onEpochBegin(epoch: number): void {
    this.epoch = epoch;
  }

  override onTrainBatchEnd(_batch: number): Hooked {
    const { globalStep } = this.loop;
    const { everyNTrainSteps } = this.settings;
    if (!everyNTrainSteps || globalStep === this.savedStep || globalStep % everyNTrainSteps !== 0) return;
    this.savedStep = globalStep;
    return this.saveAll({ latest: this.pathOf({}) }, []);
  }

  override async onEpochEnd(_epoch: number, logs: Logs): Promise<void> {
    if (this.settings.everyNTrainSteps) return;
    const { monitor, state } = this;
    if (!monitor) return this.saveAll({ latest: this.pathOf(logs) }, []);
    const value = monitor.read(logs);
    const path = this.pathOf(logs);
    if (value === undefined || !this.wanted(value)) return this.saveAll({}, []);
    const one = { path, value };
    const { saveTopK } = this.settings;
    if (!saveTopK) return this.saveAll({ latest: path, best: one }, []);
    const kept = [...state.kept.filter((k) => k.path !== path), one].sort((a, b) =>
      monitor.better(a.value, b.value) ? -1 : monitor.better(b.value, a.value) ? 1 : 0,
    );
    const out = kept.splice(saveTopK);
    await this.saveAll({ latest: path, kept, best: kept[0] }, out);
  }

  /** Is an epoch of this value to be saved? */
  private wanted(value: number): boolean {
    const { monitor, state, settings } = this;
    if (!monitor || Number.isNaN(value)) return false;
    const { saveTopK, initialValueThreshold } = settings;
    if (!saveTopK) return monitor.better(value, state.best?.value ?? initialValueThreshold);
    return state.kept.length < saveTopK || monitor.better(value, state.kept[saveTopK - 1].value);
  }

  private pathOf(logs: Logs): string {
    return this.pattern.fill({ epoch: this.epoch + 1, step: this.loop.globalStep, ...logs });
  }

  /** Saves under the path `change.latest`, if any, and as the last one; then deletes what is out. */
  private async saveAll(change: Partial<Saved>, out: readonly Kept[]): Promise<void> {
    const { saveLast } = this.settings;
    const paths = change.latest === undefined ? [] : [change.latest];
    if (saveLast) paths.push(join(dirname(this.pattern.text), `last${extname(this.pattern.text)}`));
    const before = this.state;
    // A checkpoint knows of itself, so that a run that continues from it goes on from there.
    this.state = { ...before, ...change };
    try {
      for (const path of paths) await this.save(path);
    } catch (error) {
      this.state = before;
      throw error;
    }
    for (const { path } of out) await rm(path, { force: true });
  }

  private async save(path: string): Promise<void> {
    await mkdir(dirname(path), { recursive: true });
    if (this.settings.saveWeightsOnly) await saveSafetensors(path, this.model.stateDict());
    else await save(path, this.loop.stateDict());
  }
}

export interface BackupAndRestoreOptions {
  /** Back up after each epoch, or after so many optimizer steps. Default `"epoch"`. */
  saveFreq?: "epoch" | number;
  /** Remove the backup when training has ended. Default true. */
  deleteCheckpoint?: boolean;
}

/**
 * A run that is killed goes on by itself: the same program, started again, finds the backup in the directory and
 * continues from it, with the same results as a run that was never stopped. The backup goes when training has ended.
 *
 * @example
 * new callbacks.BackupAndRestore("runs/a/backup");
 */
export class BackupAndRestore extends Callback {
  private readonly path: string;
  private readonly saveFreq: "epoch" | number;
  private readonly deleteCheckpoint: boolean;
  private savedStep = 0;

  constructor(
    private readonly directory: string,
    options: BackupAndRestoreOptions = {},
  ) {
    super();
    checkOptions(options, ["saveFreq", "deleteCheckpoint"], "BackupAndRestore");
    const { saveFreq = "epoch", deleteCheckpoint = true } = options;
    if (typeof directory !== "string" || directory === "") {
      throw new ValueError(`BackupAndRestore: the directory of the backup comes first, got ${describe(directory)}`);
    }
    if (saveFreq !== "epoch") checkCount("BackupAndRestore", 'saveFreq, if not "epoch",', saveFreq, 1);
    this.path = join(directory, "backup.ckpt");
    this.saveFreq = saveFreq;
    this.deleteCheckpoint = deleteCheckpoint;
  }

  /** After `ModelCheckpoint`, whose memory it saves. */
  override get last(): number {
    return 2;
  }

  override async onTrainBegin(_logs: Logs): Promise<void> {
    await mkdir(this.directory, { recursive: true });
    if (existsSync(this.path)) {
      const [first] = this.model.parameters();
      this.loop.loadStateDict(await load<{ [key: string]: Saveable }>(this.path, { device: first?.device }));
    }
    this.savedStep = this.loop.globalStep;
  }

  override onTrainBatchEnd(_batch: number): Hooked {
    const { globalStep } = this.loop;
    if (this.saveFreq === "epoch" || globalStep === this.savedStep || globalStep % this.saveFreq !== 0) return;
    this.savedStep = globalStep;
    return save(this.path, this.loop.stateDict());
  }

  override async onEpochEnd(_epoch: number, _logs: Logs): Promise<void> {
    if (this.saveFreq === "epoch") await save(this.path, this.loop.stateDict());
  }

  override async onTrainEnd(_logs: Logs): Promise<void> {
    if (!this.deleteCheckpoint || this.loop.interrupted) return;
    await rm(this.path, { force: true });
    await rmdir(this.directory).catch(() => {}); // which stays if others keep files there
  }
}
