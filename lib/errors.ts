// Every error that Nabla throws on purpose. All extend NablaError; messages say what was wrong, the values at hand
// and what would be right.

/** Base class of all errors thrown by Nabla. */
export class NablaError extends Error {
  override get name(): string {
    return this.constructor.name;
  }
}
/** Shapes that do not fit an operation, or ragged nested arrays. */
export class ShapeError extends NablaError {}
/** A dtype that an operation does not accept, or values that a dtype cannot hold. */
export class DTypeError extends NablaError {}
/** Tensors on different devices, or a device that is not available. */
export class DeviceError extends NablaError {}
/** An index or an axis out of range. */
export class IndexError extends NablaError {}
/** An argument that is not a legal value: NaN learning rate, negative standard deviation, unknown option. */
export class ValueError extends NablaError {}
/** More memory was asked for than there is. */
export class MemoryError extends NablaError {}
/** A tensor was used after `dispose()`, or belongs to another worker. */
export class DisposedError extends NablaError {}
/** Differentiation that is not possible: no graph, a graph used twice, a saved value overwritten, NaN found. */
export class AutogradError extends NablaError {}
/** A captured function did something that cannot be captured, such as reading a value. */
export class CaptureError extends NablaError {}
/** A file that is missing, truncated, or not what it should be. */
export class FileError extends NablaError {}
/** The encoded program handed to a device is not valid. */
export class ProgramError extends NablaError {}
