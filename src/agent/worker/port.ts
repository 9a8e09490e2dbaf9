import { Worker } from 'node:worker_threads';
import type {
  CaptureFilter,
  FlowFilter,
  FromWorker,
  ToWorker,
  WorkerOptions,
  WorkerReport,
} from '../messages.js';
import type { FlowMatch } from '../../intercept/flow-cache.js';
import { IoError } from '../../io/ports.js';

export type Ready = Extract<FromWorker, { type: 'ready' }>;
export type FlowLists = Extract<FromWorker, { type: 'flows' }>;
type Answer = Extract<FromWorker, { type: 'report' | 'flows' | 'flow-set' }>;

/** ms to wait for an answer before the worker counts as stuck. */
const ANSWER_PATIENCE = 5000;
/** Three times a half space of 1 MiB, V8's least. Nothing allocates per packet, so a larger one would only stay resident after starting. */
const YOUNG_GENERATION_MIB = 3;
/** ms that the worker may take to say goodbye to its neighbours. */
const STOP_PATIENCE = 2000;

/** The main thread's end of the forwarding worker: typed messages, and answers as promises. */
export class WorkerPort {
  private readonly worker: Worker;
  private readonly questions = new Map<number, (answer: Answer) => void>();
  private readonly captures = new Map<
    number,
    (captured: Extract<FromWorker, { type: 'captured' }>) => void
  >();
  private lastQuestion = 0;
  private opening: { resolve: (ready: Ready) => void; reject: (error: Error) => void } | undefined;
  private isOpen = false;
  private stopped: (() => void) | undefined;
  private ended = false;
  private death: Error | undefined;

  /** Begins to load the thread, which opens nothing yet. `onDeath` hears of an end that nobody asked for. */
  constructor(
    private readonly onMessage: (message: FromWorker) => void,
    private readonly onDeath: (error: Error) => void,
  ) {
    this.worker = new Worker(new URL('./thread.js', import.meta.url), {
      name: 'forwarding',
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB },
    });
    this.worker.on('message', (message: FromWorker) => this.receive(message));
    this.worker.on('error', (error) => this.die(error));
    this.worker.on('exit', () => this.die(new Error('the forwarding worker ended')));
  }

  /** Resolves when device and socket are open. Rejects with IoError where that fails. */
  open(options: WorkerOptions): Promise<Ready> {
    if (this.death) return Promise.reject(this.death);
    return new Promise((resolve, reject) => {
      this.opening = { resolve, reject };
      this.worker.postMessage(options);
    });
  }

  post(message: ToWorker, transfer: ArrayBuffer[] = []): void {
    if (!this.ended) this.worker.postMessage(message, transfer);
  }

  /** The worker's numbers. This and the next two reject when it doesn't answer. */
  async report(): Promise<WorkerReport> {
    return (await this.ask<'report'>((id) => ({ type: 'report', id }))).report;
  }

  flows(filter: FlowFilter): Promise<FlowLists> {
    return this.ask<'flows'>((id) => ({ type: 'flows', id, filter }));
  }

  /** Resolves with the number of flows that matched. */
  async setFlows(match: FlowMatch, service: number | null): Promise<number> {
    return (await this.ask<'flow-set'>((id) => ({ type: 'flow-set', id, match, service }))).flows;
  }

  /** Has packets captured until the returned function is called; `listener` hears of each message of them. */
  capture(
    filter: CaptureFilter,
    wallOffset: number,
    listener: (captured: Extract<FromWorker, { type: 'captured' }>) => void,
  ): () => void {
    const id = ++this.lastQuestion;
    this.captures.set(id, listener);
    this.post({ type: 'capture', id, filter, wallOffset });
    return () => {
      this.captures.delete(id);
      this.post({ type: 'capture-end', id });
    };
  }

  /** Says goodbye to all neighbours, closes device and socket, ends the thread. */
  async stop(): Promise<void> {
    if (this.isOpen && !this.ended) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, STOP_PATIENCE);
        this.stopped = () => {
          clearTimeout(timer);
          resolve();
        };
        this.post({ type: 'stop' });
        this.ended = true;
      });
    }
    this.ended = true;
    await this.worker.terminate();
  }

  /** `question` makes the message that asks; its answer is of type T and has its id. */
  private ask<T extends Answer['type']>(
    question: (id: number) => ToWorker,
  ): Promise<Extract<Answer, { type: T }>> {
    const id = ++this.lastQuestion;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.questions.delete(id);
        reject(new Error(`the forwarding worker gave no answer within ${ANSWER_PATIENCE} ms`));
      }, ANSWER_PATIENCE);
      this.questions.set(id, (answer) => {
        clearTimeout(timer);
        resolve(answer as Extract<Answer, { type: T }>);
      });
      this.post(question(id));
    });
  }

  private receive(message: FromWorker): void {
    if (message.type === 'report' || message.type === 'flows' || message.type === 'flow-set') {
      this.questions.get(message.id)?.(message);
      this.questions.delete(message.id);
    } else if (message.type === 'captured') this.captures.get(message.id)?.(message);
    else if (message.type === 'stopped') this.stopped?.();
    else if (message.type === 'ready') this.opened(message);
    else if (message.type === 'fatal') this.die(new IoError(message.message, message.code, message.syscall));
    else this.onMessage(message);
  }

  private opened(ready: Ready): void {
    this.isOpen = true;
    this.opening?.resolve(ready);
    this.opening = undefined;
  }

  private die(error: Error): void {
    if (this.ended) return;
    this.ended = true;
    this.death = error;
    // What it has opened would keep its thread alive, and so this process.
    void this.worker.terminate().then(() => (this.opening?.reject ?? this.onDeath)(error));
  }
}
