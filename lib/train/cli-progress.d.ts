// What Nabla uses of cli-progress, which comes without types.
declare module "cli-progress" {
  interface Options {
    format?: string;
    stream?: NodeJS.WritableStream;
    hideCursor?: boolean;
    clearOnComplete?: boolean;
    stopOnComplete?: boolean;
    barsize?: number;
    linewrap?: boolean;
    forceRedraw?: boolean;
    gracefulExit?: boolean;
  }
  const progress: {
    SingleBar: new (
      options: Options,
    ) => {
      start(total: number, value: number, payload: object): void;
      update(value: number, payload: object): void;
      stop(): void;
    };
  };
  export default progress;
}
