/** Slots for frames of which nothing but the columns exists; every one that is taken has a name of its own. */
import { FRAME_FREE, FRAME_WAITING, type FrameColumns } from '../../../src/overlay/link/frame-columns.js';

export class FramePool implements FrameColumns {
  readonly frameLength: Int32Array;
  readonly since: Float64Array;
  readonly flow: Uint32Array;
  readonly state: Uint8Array;
  readonly lane: Uint8Array;
  readonly repeats: Uint8Array;
  /** By handle: the frame's name, counted from 0 in the order of `take`. */
  readonly name: Int32Array;
  /** Names in the order in which they came back. */
  readonly released: number[] = [];
  private readonly free: number[];
  private names = 0;

  constructor(readonly size: number) {
    this.frameLength = new Int32Array(size);
    this.since = new Float64Array(size);
    this.flow = new Uint32Array(size);
    this.state = new Uint8Array(size);
    this.lane = new Uint8Array(size);
    this.repeats = new Uint8Array(size);
    this.name = new Int32Array(size).fill(-1);
    this.free = Array.from({ length: size }, (_, i) => size - 1 - i);
  }

  get used(): number {
    return this.size - this.free.length;
  }

  /** How many frames there were. */
  get taken(): number {
    return this.names;
  }

  /** The handle of a new frame, as the frame store sets its columns; -1 where none is free. */
  take(now: number, bytes: number, flow: number): number {
    const handle = this.free.pop();
    if (handle === undefined) return -1;
    this.state[handle] = FRAME_WAITING;
    this.frameLength[handle] = bytes;
    this.since[handle] = now;
    this.flow[handle] = flow;
    this.repeats[handle] = 0;
    this.name[handle] = this.names++;
    return handle;
  }

  release(handle: number): void {
    if (this.state[handle] === FRAME_FREE) throw new Error(`handle ${handle} is free already`);
    this.state[handle] = FRAME_FREE;
    this.released.push(this.name[handle]!);
    this.name[handle] = -1;
    this.free.push(handle);
  }
}
