/**
 * `causeway up`: an agent's life.
 * 1. configuration and identity        5. the host's addresses, routes and rules
 * 2. control socket (another agent?)   6. handshakes and routing; READY=1
 * 3. leftovers of a killed one         7. wait for a signal or `causeway down`
 * 4. worker: device and socket         8. farewell; everything back, in the opposite order
 * Whatever fails on the way takes back what was done before it.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino, type Logger } from 'pino';
import { ControlGuard } from '../control/guard.js';
import { ControlServer } from '../control/server.js';
import type { Cipher, Io } from '../io/ports.js';
import { IoError } from '../io/ports.js';
import { HostInterception, HostMany, HostSenders } from '../tun/index.js';
import { hostPlanOf, interceptOptionsOf } from './host-plan.js';
import { HostKeeper } from './host-keeper.js';
import { Agent, type AgentParts, type Clock } from './agent.js';
import { HostWatch } from './host-watch.js';
import { AgentControl } from './agent-control.js';
import { awaitDetours } from './farewell.js';
import { type Config, type Identity, loadConfig, loadIdentity } from './config/index.js';
import { MARK } from './host-tuning.js';
import { KnownNodes } from './known-nodes.js';
import type { NameServer } from '../names/index.js';
import { hostAddresses } from './host-addresses.js';
import { Watchdog } from './watchdog.js';
import { loadIo } from './worker/io.js';
import { WorkerPort } from './worker/port.js';

export interface AgentOptions {
  configFile: string;
  /** Do without the addon. */
  plain: boolean;
}

/** By then all that belongs to starting is over; V8's compiler alone has freed some 7 MiB. */
const TRIM_AFTER_MS = 6000;

/** Runs an agent until it is told to stop; its exit code. Throws ConfigError, ControlError, HostError or IoError where it can't start. */
export async function runAgent(options: AgentOptions): Promise<number> {
  const config = loadConfig(options.configFile);
  const identity = loadIdentity(config, Date.now());
  const io = await loadIo(options.plain);
  const log = pino({ level: config.log.level, base: { node: config.node } });
  const life = new AgentLife(config, identity, io, log);
  try {
    await life.begin(options.plain);
    return await life.ended;
  } catch (error) {
    throw explain(error, config);
  } finally {
    await life.end();
  }
}

/** The forwarding worker, and who hears of it. */
interface LoadedWorker {
  readonly port: WorkerPort;
  agent?: Agent;
}

class AgentLife {
  /** Resolves with the exit code when the agent is to end; rejects with what ended it. */
  readonly ended: Promise<number>;
  private readonly senders: HostSenders;
  private finish: (code: number) => void = () => undefined;
  private fail: (error: unknown) => void = () => undefined;
  /** What to take back, last first. */
  private readonly undo: (() => unknown)[] = [];

  constructor(
    private readonly config: Config,
    private readonly identity: Identity,
    private readonly io: Io,
    private readonly log: Logger,
  ) {
    this.ended = new Promise((resolve, reject) => {
      this.finish = resolve;
      this.fail = reject;
    });
    this.senders = new HostSenders(config.tun.name, (error) =>
      log.error({ error: String(error) }, 'senders'),
    );
    // It may end before anyone waits for that.
    this.ended.catch(() => undefined);
  }

  async begin(plain: boolean): Promise<void> {
    const { config, log, io } = this;
    const control = new AgentControl(config, io, () => this.finish(0));
    this.listen(control);
    await this.serve(control);
    const worker = this.loadWorker();
    const host = new HostInterception(config.tun.name);
    const removed = await host.prepare();
    if (removed.length > 0) log.warn({ removed }, 'removed what an agent that was killed had left');
    const agent = await this.startWorker(plain, control, host, worker);
    agent.start();
    await Promise.all([this.senders.settled(), host.settled()]);
    control.ready = true;
    io.notify('READY=1');
    const watchdog = new Watchdog(io, () => control.probeWorker());
    this.undo.push(() => watchdog.stop());
    const hostWatch = new HostWatch(io, (running) => agent.hostChanged(running));
    this.undo.push(() => hostWatch.close());
    const trim = setTimeout(() => io.trim(), TRIM_AFTER_MS).unref();
    this.undo.push(() => clearTimeout(trim));
    log.info({ tun: config.tun.name, listen: config.listen, peers: config.peers.length }, 'ready');
  }

  /** Takes everything back. */
  async end(): Promise<void> {
    this.io.notify('STOPPING=1');
    for (const step of this.undo.splice(0).reverse()) {
      try {
        await step();
      } catch (error) {
        this.log.error({ error: String(error) }, 'while stopping');
      }
    }
  }

  private async serve(control: AgentControl): Promise<void> {
    const { config, io, log } = this;
    const onError = (error: unknown): void => log.error({ error: String(error) }, 'control');
    const guard = new ControlGuard(
      config.control,
      io.peerCredentials && ((fd) => io.peerCredentials!(fd)),
      (user, what) => control.noteRefused(user, what),
    );
    const server = new ControlServer(control, config.control.socket, onError, guard);
    await server.listen();
    this.undo.push(() => server.close());
    if (config.control.metrics === undefined) return;
    // Its library costs a start that does without it too much.
    const { MetricsServer } = await import('../control/metrics.js');
    const metrics = new MetricsServer(control, config.control.metrics);
    await metrics.listen();
    this.undo.push(() => metrics.close());
  }

  /** Its thread loads while what a killed agent left is looked for. */
  private loadWorker(): LoadedWorker {
    const loaded: LoadedWorker = {
      port: new WorkerPort(
        (message) => loaded.agent?.receive(message),
        (error) => {
          this.log.fatal({ error: String(error) }, 'the forwarding worker died');
          this.fail(error);
        },
      ),
    };
    this.undo.push(() => loaded.port.stop());
    return loaded;
  }

  private async startWorker(
    plain: boolean,
    control: AgentControl,
    host: HostInterception,
    worker: LoadedWorker,
  ): Promise<Agent> {
    const { config, identity, io, log } = this;
    const node = identity.verified.certificate;
    const epoch = Math.floor(Date.now() / 1000) >>> 0;
    const { port } = worker;
    const clock: Clock = { now: () => io.now(), wall: () => Date.now(), schedule };
    const keeper = new HostKeeper(host, node, log, (error) => this.fail(error));
    const many = new HostMany(host, (error) =>
      log.error({ error: String(error) }, 'rules about multicast and broadcast'),
    );
    const intercept = interceptOptionsOf(config, identity);
    const agent = this.createAgent(clock, epoch, keeper, many, (message, transfer) =>
      port.post(message, transfer),
    );
    worker.agent = agent;
    const ready = await port.open({
      self: node.nodeId,
      epoch: epoch & 0xffff,
      tun: config.tun,
      listen: config.listen,
      mark: MARK,
      ...(intercept && { intercept }),
      plain,
    });
    this.undo.push(() => host.revert());
    this.undo.push(() => this.senders.close());
    this.undo.push(() => many.close());
    this.undo.push(() => this.leave(agent, port));
    const plan = hostPlanOf(config, identity);
    const { warnings } = await host.apply(plan.routing, plan.nft);
    await host.tune(plan.settings);
    keeper.begin(config.intercept.mode === 'full');
    this.undo.push(() => keeper.end());
    if (plain) warnings.push(PLAIN_COST);
    for (const warning of warnings) log.warn(warning);
    log.info(
      { io: ready.kind, engine: ready.engine, tun: ready.tun, udp: ready.udp, port: ready.port },
      'forwarding',
    );
    const names = await this.serveNames(agent, identity, clock);
    control.attach({ agent, port, ready, identity, clock, warnings, names, keeper, log });
    return agent;
  }

  private createAgent(
    clock: Clock,
    epoch: number,
    keeper: HostKeeper,
    many: HostMany,
    post: AgentParts['post'],
  ): Agent {
    const { config, identity, io, log } = this;
    return new Agent({
      config,
      identity,
      clock,
      log,
      epoch,
      post,
      random: (size) => randomBytes(size),
      ciphers: cipherPreference(io),
      hostAddresses: () => hostAddresses(config.listen.host),
      setSenders: (question) => this.senders.set(question),
      ...(config.intercept.mode === 'full' && { setMany: (question) => many.set(question) }),
      setRouted: (to) => keeper.setRouted(to),
      forgetDirect: () => keeper.forgetDirect(),
      ...(config.intercept.participants && {
        known: new KnownNodes(config, identity, clock.wall, (error) =>
          log.warn({ error: String(error) }, "other nodes' certificates can't be written down"),
        ),
      }),
    });
  }

  /** Others learn that this node goes, and go round it, before it is gone. */
  private async leave(agent: Agent, port: WorkerPort): Promise<void> {
    const hasLinks = agent.peers.all().some(({ state }) => state === 'connected');
    agent.stop();
    if (!hasLinks) return;
    const relayed = async (): Promise<number> => (await port.report()).counters.relayedPackets ?? 0;
    await awaitDetours({ relayed, sleep });
  }

  /** At this node's own addresses, which the device has by then. Off by default, and its library with it. */
  private async serveNames(agent: Agent, identity: Identity, clock: Clock): Promise<NameServer | undefined> {
    const { config, log } = this;
    if (!config.names.enabled) return undefined;
    const { serveNames } = await import('./names.js');
    const server = await serveNames({
      config,
      router: agent.router,
      addresses: agent.node.addresses,
      overlay: identity.trust.overlayPrefixes,
      now: clock.now,
      log,
    });
    this.undo.push(() => server.close());
    return server;
  }

  /** From the first step on: whenever a signal comes, and even after a fault of our own, everything is taken back. */
  private listen(control: AgentControl): void {
    const stop = () => this.finish(0);
    const reload = () => {
      Promise.resolve()
        .then(() => control.reload())
        .catch((error: unknown) =>
          this.log.error({ error: String(error) }, 'reload refused; the old configuration stays'),
        );
    };
    const fault = (error: unknown) => {
      this.log.fatal({ error: String(error), stack: (error as Error | undefined)?.stack }, 'a fault of ours');
      this.fail(error);
    };
    process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', reload).on('uncaughtException', fault);
    this.undo.push(() => {
      process.off('SIGTERM', stop).off('SIGINT', stop).off('SIGHUP', reload).off('uncaughtException', fault);
    });
  }
}

const PLAIN_COST =
  'running without the native addon (--plain): no segmentation offload, about a twentieth of the throughput and several times the CPU a byte';

function schedule(delayMicros: number, callback: () => void): () => void {
  const timer = setTimeout(callback, Math.ceil(delayMicros / 1000));
  return () => clearTimeout(timer);
}

/** AES-256-GCM first where the CPU has AES instructions, and only there. */
function cipherPreference(io: Io): Cipher[] {
  return io.cpu.aes ? ['aes-256-gcm', 'chacha20-poly1305'] : ['chacha20-poly1305'];
}

/** An error of the environment with its remedy. */
function explain(error: unknown, config: Config): unknown {
  const { code, syscall } = error as { code?: string; syscall?: string };
  if (code === 'EBADFD' && syscall === 'read tun')
    return new Error(`TUN device ${config.tun.name} was taken away; start the agent again`, { cause: error });
  if (!(error instanceof IoError)) return error;
  const { host, port } = config.listen;
  const remedies: Record<string, string> = {
    EADDRINUSE: `UDP port ${port} is in use; set listen.port to another, or stop what uses it ("ss -lunp")`,
    EADDRNOTAVAIL: `listen.host ${host} is no address of this host; use "::" for all`,
    EPERM: 'not permitted: run it as root, or give it CAP_NET_ADMIN and CAP_NET_RAW',
    EACCES: 'not permitted: run it as root, or give it CAP_NET_ADMIN and CAP_NET_RAW',
    ENOENT: '/dev/net/tun is missing: "modprobe tun", or pass the device into the container',
    EBUSY: `TUN device name ${config.tun.name} is taken; set tun.name to another`,
  };
  const remedy = remedies[error.code];
  return remedy === undefined ? error : new IoError(remedy, error.code, error.syscall, { cause: error });
}
