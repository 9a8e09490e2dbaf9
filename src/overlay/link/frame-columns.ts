/** What is known of the frames that a node keeps, by handle; frames themselves lie in `forward/store.ts`, which cores never see. */

/** What a frame is doing. */
export const FRAME_FREE = 0;
/** Waits in a queue, or at the exit for its turn. */
export const FRAME_WAITING = 1;
/** Sent, not yet known to have arrived. */
export const FRAME_UNDER_WAY = 2;
/** Lost, waits to be sent again. */
export const FRAME_LOST = 3;

export interface FrameColumns {
  /** Bytes of the routed frame. */
  readonly frameLength: Int32Array;
  /** µs: when this node took the frame. */
  readonly since: Float64Array;
  readonly flow: Uint32Array;
  readonly state: Uint8Array;
  /** Lane of the link that the frame takes. */
  readonly lane: Uint8Array;
  /** Times that a realtime frame was sent again. */
  readonly repeats: Uint8Array;
}
