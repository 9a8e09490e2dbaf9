/**
 * The agent's side of the control socket:
 *   1. take the socket's path: nothing there, or a socket that nobody serves any more;
 *   2. answer each request from the AgentApi, errors as the codes of `protocol.ts`;
 *   3. on close, let go of the path and of every connection.
 * The socket is root's alone (mode 0600), unless a guard says who else may ask what.
 */
import { chmodSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createConnection } from 'node:net';
import { dirname } from 'node:path';
import { z } from 'zod';
import type { AgentApi, CaptureRequest, FlowsRequest, PingEvent, PingRequest } from './api.js';
import { ApiError } from './api.js';
import { ControlError } from './errors.js';
import type { ControlGuard } from './guard.js';
import type { Call, PingLine } from './protocol.js';
import { MAX_BODY, PATHS, STATUS_OF } from './protocol.js';

/** Ms to let a connection attempt to a socket file decide whether an agent lives behind it. */
const CONNECT_PATIENCE = 2000;

const pingRequest = z.strictObject({
  target: z.string().min(1).max(253),
  count: z.int().min(0).max(1_000_000),
  intervalMs: z.int().min(10, 'the interval is at least 10 ms').max(3_600_000),
  timeoutMs: z.int().min(10, 'the timeout is at least 10 ms').max(60_000),
  ttl: z.int().min(1).max(255).optional(),
});

const captureRequest = z.strictObject({
  decrypted: z.boolean(),
  node: z.string().min(1).max(253).optional(),
  flow: z
    .strictObject({
      protocol: z.string().max(64),
      source: z.string().max(64),
      destination: z.string().max(64),
    })
    .optional(),
  snap: z.int().min(64, 'at least 64 bytes of a packet are kept').max(262_144),
});

const flowsRequest = z.strictObject({
  direction: z.enum(['out', 'in', 'both']),
  to: z.string().max(64).optional(),
});

const flowSetRequest = z.strictObject({
  protocol: z.string().max(64),
  source: z.string().max(64),
  destination: z.string().max(64),
  service: z.enum(['best-effort', 'reliable', 'realtime']).nullable(),
});

export class ControlServer {
  private readonly server: Server;

  /** `onError` hears of faults that are neither the user's nor the environment's. */
  constructor(
    private readonly api: AgentApi,
    private readonly socketPath: string,
    private readonly onError: (error: unknown) => void = () => undefined,
    private readonly guard?: ControlGuard,
  ) {
    this.server = createServer((request, response) => void this.answer(request, response));
  }

  /** Throws ControlError: EALREADY if an agent serves the path, EACCES or EIO if it can't be taken. */
  async listen(): Promise<void> {
    try {
      mkdirSync(dirname(this.socketPath), { recursive: true, mode: 0o755 });
      await removeStale(this.socketPath);
      await this.bind();
      chmodSync(this.socketPath, this.guard?.isOpen === true ? 0o666 : 0o600);
    } catch (error) {
      throw error instanceof ControlError ? error : cantListen(this.socketPath, error);
    }
  }

  /** Resolves when the path is free; answers under way are cut off. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.server.close(() => resolve());
      // An answer already handed to the kernel (the one to `stop`) still arrives; only then connections fall.
      setImmediate(() => this.server.closeAllConnections());
    });
  }

  /** The mask is narrow while the socket is made, so that at no time anyone else can open it. */
  private bind(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      const mask = process.umask(0o177);
      try {
        this.server.listen(this.socketPath, () => {
          this.server.off('error', reject);
          this.server.on('error', this.onError);
          resolve();
        });
      } finally {
        process.umask(mask);
      }
    });
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => undefined); // the client left; `close` says so too
    try {
      const call = callOf(request);
      this.guard?.check(request.socket, call);
      if (call === 'ping') return await this.answerPing(request, response);
      if (call === 'capture') return await this.answerCapture(request, response);
      const body = await readBody(request);
      sendJson(response, 200, (await this.perform(call, body)) ?? {});
    } catch (error) {
      this.sendError(response, error);
    }
  }

  private perform(call: Exclude<Call, 'ping' | 'capture'>, body: string): unknown {
    switch (call) {
      case 'flows':
        return this.api.flows(checked(flowsRequest, body) as FlowsRequest);
      case 'setFlows':
        return this.api.setFlows(checked(flowSetRequest, body));
      default:
        return this.api[call]();
    }
  }

  private async answerPing(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const ping = checked(pingRequest, await readBody(request)) as PingRequest;
    const abort = new AbortController();
    response.on('close', () => abort.abort());
    const events = this.api.ping(ping, abort.signal)[Symbol.asyncIterator]();
    // A refusal comes instead of the first event, while the status line is still ours to choose.
    let next = await events.next();
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    while (next.done !== true && !abort.signal.aborted) {
      sendLine(response, next.value);
      next = await this.nextOrError(events, response);
    }
    if (next.done !== true) await events.return?.();
    response.end();
  }

  private async answerCapture(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const capture = checked(captureRequest, await readBody(request)) as CaptureRequest;
    const abort = new AbortController();
    response.on('close', () => abort.abort());
    const chunks = this.api.capture(capture, abort.signal)[Symbol.asyncIterator]();
    // As with a ping, a refusal comes instead of the first block.
    let next = await chunks.next();
    response.writeHead(200, { 'content-type': 'application/x-pcapng' });
    while (next.done !== true && !abort.signal.aborted) {
      if (!response.write(next.value)) await drained(response, abort.signal);
      next = await chunks.next();
    }
    if (next.done !== true) await chunks.return?.();
    response.end();
  }

  private async nextOrError(
    events: AsyncIterator<PingEvent>,
    response: ServerResponse,
  ): Promise<IteratorResult<PingEvent>> {
    try {
      return await events.next();
    } catch (error) {
      sendLine(response, { error: this.describe(error) });
      return { done: true, value: undefined };
    }
  }

  private sendError(response: ServerResponse, error: unknown): void {
    const described = this.describe(error);
    if (response.headersSent) response.destroy();
    else sendJson(response, STATUS_OF[described.code], { error: described });
  }

  private describe(error: unknown): Pick<ApiError, 'code' | 'message'> {
    if (error instanceof ApiError) return { code: error.code, message: error.message };
    this.onError(error);
    return {
      code: 'failed',
      message: `the agent failed: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
}

/** Removes a socket file that nobody serves. Anything else at that path is left alone, and refused. */
async function removeStale(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new ControlError('EIO', `${path} is there and is no socket; name another control.socket`);
  }
  if (await isServed(path)) {
    throw new ControlError(
      'EALREADY',
      `an agent is already running at ${path}; stop it with "causeway down -s ${path}"`,
    );
  }
  unlinkSync(path);
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    const finish = (served: boolean): void => {
      socket.destroy();
      resolve(served);
    };
    socket.setTimeout(CONNECT_PATIENCE, () => finish(true));
    socket.once('connect', () => finish(true));
    socket.once('error', ({ code }: NodeJS.ErrnoException) =>
      finish(code !== 'ECONNREFUSED' && code !== 'ENOENT'),
    );
  });
}

function cantListen(path: string, error: unknown): ControlError {
  const { code } = error as NodeJS.ErrnoException;
  const denied = code === 'EACCES' || code === 'EPERM' || code === 'EROFS';
  const remedy = denied ? 'run as root, or name another control.socket' : 'name another control.socket';
  const message = `can't listen at ${path} (${code ?? String(error)}); ${remedy}`;
  return new ControlError(denied ? 'EACCES' : 'EIO', message, { cause: error });
}

function callOf(request: IncomingMessage): Call {
  const calls = Object.entries(PATHS) as [Call, { method: string; path: string }][];
  const found = calls.find(([, { path, method }]) => path === request.url && method === request.method);
  if (found === undefined) throw new ApiError('not-found', `no such call: ${request.method} ${request.url}`);
  return found[0];
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY) throw new ApiError('bad-request', `a request has at most ${MAX_BODY} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** A request that is what it should be. */
function checked<T>(shape: z.ZodType<T>, body: string): T {
  const parsed = shape.safeParse(parseJson(body));
  if (parsed.success) return parsed.data;
  const { message, path } = parsed.error.issues[0];
  throw new ApiError('bad-request', `${path.join('.')}: ${message}`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ApiError('bad-request', 'the request is not JSON', { cause });
  }
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
  response.end(`${JSON.stringify(value)}\n`);
}

/** Resolves when there is room again, or nobody left to write to. */
function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    response.once('drain', done);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}

function sendLine(response: ServerResponse, line: PingLine): void {
  response.write(`${JSON.stringify(line)}\n`);
}
