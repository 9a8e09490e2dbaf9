/**
 * Who may ask what of the agent: root everything; others, by the credentials that the kernel knows of the process behind a connection, what
 * `control.read` and `control.all` give them. Where neither is set the socket is root's alone, and nobody else gets so far.
 */
import type { Socket } from 'node:net';
import { type Allowed, isAllowed } from '../intercept/access.js';
import type { PeerCredentials } from '../io/ports.js';
import { ApiError } from './api.js';
import type { Call } from './protocol.js';

/** Calls that change something, or show what packets carry. All others only look. */
const CHANGES: readonly Call[] = ['setFlows', 'reload', 'stop', 'capture'];

export interface ControlAccess {
  /** May ask, and ping. */
  read?: Allowed | undefined;
  /** May change things too. */
  all?: Allowed | undefined;
}

export class ControlGuard {
  constructor(
    private readonly access: ControlAccess,
    private readonly credentialsOf: ((fd: number) => PeerCredentials) | undefined,
    /** Hears of each refusal. */
    private readonly onRefused: (user: number, what: 'control' | 'control: change') => void,
  ) {}

  /** Whether others than root are to be heard. */
  get isOpen(): boolean {
    const { access, credentialsOf } = this;
    return credentialsOf !== undefined && (access.read ?? access.all) !== undefined;
  }

  /** Throws ApiError `forbidden`. */
  check(socket: Socket, call: Call): void {
    if (!this.isOpen) return;
    const changes = CHANGES.includes(call);
    const { user, groups } = this.credentialsOf!(descriptorOf(socket));
    const may = (allowed: Allowed | undefined) => allowed !== undefined && isAllowed(allowed, user, groups);
    if (user === 0 || may(this.access.all) || (!changes && may(this.access.read))) return;
    this.onRefused(user, changes ? 'control: change' : 'control');
    const which = changes ? 'control.all' : 'control.read and control.all';
    throw new ApiError('forbidden', `user ${user} may not do that (${which} in the agent's configuration)`);
  }
}

/** Node has no public name for it. */
function descriptorOf(socket: Socket): number {
  const { _handle: handle } = socket as unknown as { _handle?: { fd?: number } };
  if (handle?.fd === undefined || handle.fd < 0) throw new ApiError('failed', 'the connection is gone');
  return handle.fd;
}
