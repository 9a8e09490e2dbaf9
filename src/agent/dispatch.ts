/** What is done with each type of message; `now` in µs. */
export type Handlers<M extends { type: string }> = {
  readonly [T in M['type']]: (message: Extract<M, { type: T }>, now: number) => void;
};

export function dispatch<M extends { type: string }>(handlers: Handlers<M>, message: M, now: number): void {
  // The key says which member of the union it is, which TypeScript doesn't follow.
  (handlers[message.type as M['type']] as (message: M, now: number) => void)(message, now);
}
