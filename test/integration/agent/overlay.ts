/** Agents under test: the built `bin/causeway`, each on a host of its own, with certificates of one authority. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, vi } from 'vitest';
import { ControlClient } from '../../../src/control/client.js';
import { Ground, Host, isRoot, type Outcome, type Program } from '../../support/net.js';
import { lifetime, type Lifetime, type NodeClaims, TestAuthority } from '../../support/pki/authority.js';

/** CAUSEWAY_BIN: another build. */
export const BIN = process.env['CAUSEWAY_BIN'] ?? join(import.meta.dirname, '../../../bin/causeway');
export const PORT = 7100;

/** Root, a TUN device and a build: without them these tests say so and are skipped. */
export const usable =
  isRoot && existsSync('/dev/net/tun') && existsSync(join(BIN, '../../dist/bundle/cli.js'));

/** Wide: the machine may have other things to do. */
export const SOON = { timeout: 40_000, interval: 50 };

/** Repeats an assertion until it holds. */
export function eventually(check: () => unknown): Promise<unknown> {
  return vi.waitFor(check, SOON);
}

export interface AgentChanges {
  /** More YAML, or other values of the keys below. */
  peers?: string;
  rules?: string;
  /** All of `intercept`, instead of its rules alone. */
  intercept?: string;
  inbound?: string | undefined;
  listen?: string;
  tun?: string;
  pki?: string;
  more?: string;
  plain?: boolean;
  /** Groups in the certificate. */
  groups?: readonly string[];
  /** Words in front of the program: `setpriv …`. */
  through?: readonly string[];
}

export class Agent {
  readonly socket: string;
  readonly file: string;
  readonly client: ControlClient;
  program: Program | undefined;
  /** More of the section `control`. */
  control = '';

  constructor(
    readonly host: Host,
    readonly name: string,
    readonly net: number,
    readonly number: number,
    readonly directory: string,
    public changes: AgentChanges,
  ) {
    this.socket = join(directory, `${name}.sock`);
    this.file = join(directory, `${name}.yaml`);
    this.client = new ControlClient(this.socket);
  }

  get v4(): string {
    return `10.${this.net}.0.${this.number}`;
  }

  get v6(): string {
    return `fd${this.net}::${this.number}`;
  }

  /** Writes the configuration, changed as told from now on. */
  configure(changes: AgentChanges = {}): void {
    this.changes = { ...this.changes, ...changes };
    const { peers = '[]', rules, inbound, intercept, listen, tun, pki, more = '' } = this.changes;
    const { name } = this;
    const lines = [
      `node: ${name}`,
      `pki: ${pki ?? `{ca: ca.crt, cert: ${name}.crt, key: ${name}.key}`}`,
      `listen: ${listen ?? `{host: "::", port: ${PORT}}`}`,
      `tun: ${tun ?? '{name: cw0, mtu: 1380}'}`,
      `peers: ${peers}`,
      `intercept: ${intercept ?? `{${[rules && `rules: ${rules}`, inbound && `inbound: ${inbound}`].filter(Boolean).join(', ')}}`}`,
      `control: {socket: ${this.socket}${this.control && `, ${this.control}`}}`,
      more,
    ];
    writeFileSync(this.file, `${lines.join('\n')}\n`);
  }

  /** `causeway up`, on its way. */
  start(): Program {
    this.configure();
    const { plain = false, through = [] } = this.changes;
    this.program = this.host.start(
      ...through,
      'env',
      `STATE_DIRECTORY=${join(this.directory, 'state')}`,
      process.execPath,
      BIN,
      'up',
      '-c',
      this.file,
      ...(plain ? ['--plain'] : []),
    );
    return this.program;
  }

  /** Waits until the agent says that it is. */
  async ready(): Promise<void> {
    const { program } = this;
    await eventually(async () => {
      if (program && !program.running) throw new Error(`${this.name} ended:\n${program.text}`);
      expect((await this.client.status()).ready).toBe(true);
    });
  }

  /** `causeway …` on its host, with its socket. */
  cli(...args: string[]): Promise<Outcome> {
    const [command, ...rest] = args;
    return this.host.run(process.execPath, BIN, command, '-s', this.socket, ...rest);
  }

  async drops(): Promise<Record<string, number>> {
    return (await this.client.status()).counters.drops;
  }

  async connected(...peers: Agent[]): Promise<void> {
    await eventually(async () => {
      const connected = (await this.client.peers()).filter(({ state }) => state === 'connected');
      expect(connected.map(({ name }) => name)).toEqual(
        expect.arrayContaining(peers.map(({ name }) => name)),
      );
    });
  }

  /** Waits until packets go through. */
  async reaches(address: string): Promise<void> {
    await eventually(async () => expect(await this.pings(address)).toBe(true));
  }

  async pings(address: string, ...options: string[]): Promise<boolean> {
    return (await this.host.run('ping', '-n', '-c', '1', '-W', '1', ...options, address)).code === 0;
  }

  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    return this.program!.stop(signal);
  }

  /** The log's lines so far. */
  get log(): Record<string, unknown>[] {
    return this.program!.out.split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }
}

/** One authority, its hosts and its agents; all gone after the file's last test. */
export class Overlay {
  readonly directory = mkdtempSync(join(tmpdir(), 'causeway-agents-'));
  private authority: Promise<TestAuthority> | undefined;
  private agents = 0;

  /** It owns 10.NET.0.0/16 and fdNET::/48. */
  constructor(
    readonly ground = new Ground(),
    private readonly net = 77,
  ) {
    afterAll(() => rmSync(this.directory, { recursive: true, force: true }));
  }

  /** An agent on a host, not started; certificates are written, and a configuration. */
  async agent(
    host: Host,
    changes: AgentChanges = {},
    name = host.name,
    life?: Lifetime,
    claims?: NodeClaims,
  ): Promise<Agent> {
    this.authority ??= TestAuthority.create(
      Date.now(),
      `CA ${this.net}`,
      `10.${this.net}.0.0/16,fd${this.net}::/48`,
    );
    const agent = new Agent(host, name, this.net, ++this.agents, this.directory, changes);
    await this.certify(agent, life ?? lifetime(Date.now()), { groups: changes.groups ?? [], ...claims });
    return agent;
  }

  /** Writes an agent a certificate, in force when it starts again. */
  async certify(agent: Agent, life: Lifetime, claims: NodeClaims = {}): Promise<void> {
    const authority = (await this.authority)!;
    await authority.writeNode(this.directory, agent.name, `${agent.v4},${agent.v6}`, life, claims);
    agent.configure();
  }
}

/** `peers` of a configuration: each called at the address of the link that joins the two hosts. */
export function peersOf(host: Host, family: 'v4' | 'v6', ...peers: Host[]): string {
  const entries = peers.map((peer) => {
    const address = host.port(peer).peer[family];
    const shown = family === 'v4' ? address : `[${address}]`;
    return `{name: ${peer.name}, endpoints: ["${shown}:${PORT}"]}`;
  });
  return `[${entries.join(', ')}]`;
}

/** Two hosts with a link and an agent each, started and connected. */
export async function pair(
  overlay: Overlay,
  family: 'v4' | 'v6' = 'v4',
  changes: readonly [AgentChanges, AgentChanges] = [{}, {}],
): Promise<{ a: Agent; b: Agent }> {
  const { ground } = overlay;
  const [hostA, hostB] = [await ground.host('a'), await ground.host('b')];
  await ground.join(hostA, hostB);
  const a = await overlay.agent(hostA, { peers: peersOf(hostA, family, hostB), ...changes[0] });
  const b = await overlay.agent(hostB, { peers: peersOf(hostB, family, hostA), ...changes[1] });
  await startAll(a, b);
  await a.connected(b);
  await a.reaches(b.v4);
  return { a, b };
}

export async function startAll(...agents: Agent[]): Promise<void> {
  for (const agent of agents) agent.start();
  for (const agent of agents) await agent.ready();
}
