/** The control socket itself failed: nobody there, no permission, somebody else there. */
export type ControlErrorCode = 'ENOAGENT' | 'EALREADY' | 'EACCES' | 'EPROTOCOL' | 'EIO';

export class ControlError extends Error {
  override readonly name = 'ControlError';
  constructor(
    readonly code: ControlErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

export function noAgent(socket: string, cause?: unknown): ControlError {
  return new ControlError('ENOAGENT', `no agent at ${socket}; start one with "causeway up -c FILE"`, {
    cause,
  });
}
