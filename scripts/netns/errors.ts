/** What went wrong, in one line for the user, and the exit code that says of what kind it is. */
export class MeshError extends Error {
  constructor(
    message: string,
    readonly exitCode: 1 | 2,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'MeshError';
  }
}

/** The user asked for something that isn't there or can't be: exit code 2. */
export const wrongUse = (message: string): MeshError => new MeshError(message, 2);

/** The machine didn't do what was asked: exit code 1. */
export const failed = (message: string, cause?: unknown): MeshError => new MeshError(message, 1, { cause });
