/** The CLI's side of the control socket: AgentApi again, over HTTP. Refusals come back as ApiError, a dead socket as ControlError. */
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import type {
  AgentApi,
  CaptureRequest,
  Finding,
  FlowSetRequest,
  FlowSetResult,
  FlowsRequest,
  FlowStatus,
  LinkStatus,
  PeerStatus,
  PingEvent,
  PingRequest,
  ReloadResult,
  RouteStatus,
  Status,
} from './api.js';
import { ApiError } from './api.js';
import { ControlError, noAgent } from './errors.js';
import type { Call, ErrorBody, PingLine } from './protocol.js';
import { PATHS } from './protocol.js';

/** Ms until an agent that takes a connection but doesn't answer is given up. */
const ANSWER_PATIENCE = 10_000;

export class ControlClient implements AgentApi {
  constructor(readonly socketPath: string) {}

  status = (): Promise<Status> => this.call('status');
  peers = (): Promise<PeerStatus[]> => this.call('peers');
  links = (): Promise<LinkStatus[]> => this.call('links');
  routes = (): Promise<RouteStatus[]> => this.call('routes');
  flows = (request: FlowsRequest): Promise<FlowStatus[]> => this.call('flows', request);
  setFlows = (request: FlowSetRequest): Promise<FlowSetResult> => this.call('setFlows', request);
  doctor = (): Promise<Finding[]> => this.call('doctor');
  reload = (): Promise<ReloadResult> => this.call('reload');

  async stop(): Promise<void> {
    await this.call('stop');
  }

  async *ping(ping: PingRequest, signal: AbortSignal): AsyncGenerator<PingEvent> {
    const response = await this.open('ping', JSON.stringify(ping), signal);
    const lines = createInterface({ input: response, crlfDelay: Infinity });
    try {
      for await (const line of lines) {
        const event = parse<PingLine>(line);
        if ('error' in event) throw new ApiError(event.error.code, event.error.message);
        yield event;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      response.destroy();
    }
    if (!response.complete && !signal.aborted)
      throw new ControlError('EPROTOCOL', 'the agent stopped in the middle of an answer');
  }

  async *capture(capture: CaptureRequest, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const response = await this.open('capture', JSON.stringify(capture), signal);
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) yield chunk;
    } catch (error) {
      if (!signal.aborted) throw this.explain(error as NodeJS.ErrnoException);
    } finally {
      response.destroy();
    }
  }

  private async call<T>(call: Call, request?: object): Promise<T> {
    const body = request === undefined ? '' : JSON.stringify(request);
    return parse<T>(await readAll(await this.open(call, body)));
  }

  /** The answer's head, refusals already thrown. */
  private async open(call: Call, body = '', signal?: AbortSignal): Promise<IncomingMessage> {
    const response = await this.send(call, body, signal);
    if (response.statusCode === 200) return response;
    const { error } = parse<Partial<ErrorBody>>(await readAll(response));
    throw error === undefined ? foreign() : new ApiError(error.code, error.message);
  }

  private send(call: Call, body: string, signal?: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const options = {
        socketPath: this.socketPath,
        ...PATHS[call],
        agent: false,
        ...(signal && { signal }),
      };
      const outgoing = request(options, resolve);
      const patience = setTimeout(() => {
        reject(
          new ControlError(
            'EIO',
            `the agent at ${this.socketPath} doesn't answer; look at its log, or restart it`,
          ),
        );
        outgoing.destroy();
      }, ANSWER_PATIENCE);
      outgoing.once('error', (error) => reject(this.explain(error)));
      outgoing.once('close', () => clearTimeout(patience));
      outgoing.once('response', () => clearTimeout(patience));
      outgoing.end(body);
    });
  }

  private explain(error: NodeJS.ErrnoException): Error {
    const { code } = error;
    if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTSOCK')
      return noAgent(this.socketPath, error);
    if (code === 'EACCES' || code === 'EPERM') {
      return new ControlError('EACCES', `no permission for ${this.socketPath}; run as root`, {
        cause: error,
      });
    }
    if (code?.startsWith('HPE_') === true) return foreign(error);
    return new ControlError(
      'EIO',
      `talking to the agent at ${this.socketPath} failed (${code ?? error.message})`,
      {
        cause: error,
      },
    );
  }
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

function parse<T>(text: string): T {
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw foreign(cause);
  }
}

function foreign(cause?: unknown): ControlError {
  const message = "the answer is not an agent's; is another program at this socket?";
  return new ControlError('EPROTOCOL', message, { cause });
}
