/** What the agent would do with the flows of a capture, or with one, under a configuration that nobody runs yet. */
import { lookup } from 'node:dns/promises';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { findGroup, findUser } from '../agent/config/accounts.js';
import { type Config, loadConfig } from '../agent/config/index.js';
import { PROTOCOLS } from '../agent/config/protocols.js';
import { type KnownWorld, knownWorld } from '../agent/config/world.js';
import { readCapture } from '../capture/read.js';
import { addressBytes } from '../agent/endpoint.js';
import { explainPacket, type Who } from '../intercept/explain.js';
import { PacketInfo } from '../intercept/packet.js';
import { cgroupsOf, NO_SENDER } from '../intercept/rules.js';
import type { Output } from './context.js';
import { json } from './context.js';
import { CliError, EXIT } from './errors.js';
import { Explanations, explainCapture, type ExplainedFlow } from './explained-flows.js';
import { table } from './format.js';

export interface ExplainOptions {
  json?: boolean;
  config: string;
  certs?: string[];
  user?: string;
  group?: string;
  cgroup?: string;
  from?: string;
  dscp: number;
}

/** Prints the answer; throws CliError for what can't be read or understood. */
export async function runExplain(
  what: string,
  destination: string | undefined,
  options: ExplainOptions,
  output: Output,
): Promise<void> {
  const config = loadConfig(options.config);
  const world = knownWorld(config, options.certs, Date.now());
  const who = whoOf(options, config);
  const explained =
    destination === undefined
      ? await explainFile(what, world, who)
      : await explainFlow(what, destination, world, who, options);
  if (options.json === true)
    output.out(json(explained.flows.map((flow) => ({ ...flow, line: lineOf(flow, config) }))));
  else output.out(render(explained, config));
  if (explained.problem !== undefined) throw new CliError(`${what}: ${explained.problem}`);
}

interface Explained {
  readonly flows: readonly ExplainedFlow[];
  /** Frames that hold no IP packet. */
  readonly others: number;
  /** What is wrong with the file, behind what could be read of it. */
  readonly problem?: string;
}

async function explainFile(file: string, world: KnownWorld, who: Who): Promise<Explained> {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    const isProtocol = Object.hasOwn(PROTOCOLS, file);
    if (isProtocol)
      throw new CliError(`${file}: name a destination behind it, such as 10.77.0.5:22`, EXIT.usage);
    throw new CliError(`${file} can't be read (${(error as NodeJS.ErrnoException).code})`);
  }
  const read = await readCapture(bytes);
  const { flows, others } = explainCapture(world, read.packets, who);
  return { flows, others, ...(!read.ok && { problem: read.text }) };
}

async function explainFlow(
  protocolName: string,
  destination: string,
  world: KnownWorld,
  who: Who,
  { from, dscp: code }: ExplainOptions,
): Promise<Explained> {
  const protocol = protocolOf(protocolName);
  const { host, port } = endOf(destination);
  const flows = new Explanations();
  for (const address of await addressesOf(host)) {
    const info = new PacketInfo();
    const version = isIP(address);
    const destination = wordsOf(address);
    const source = wordsOf(from ?? sourceFor(world, version, address, destination));
    Object.assign(info, {
      version,
      protocol: protocol(version),
      destinationPort: port,
      trafficClass: code << 2,
    });
    [info.src0, info.src1, info.src2, info.src3] = source;
    [info.dst0, info.dst1, info.dst2, info.dst3] = destination;
    flows.add(info, explainPacket(world, info, who), 0);
  }
  return { flows: flows.all, others: 0 };
}

/** The address that the host's routes would choose: in the overlay its own there, else its real one where the certificate names it. */
function sourceFor({ self, isInside }: KnownWorld, version: number, address: string, words: Words): string {
  const own = isInside(version, words) ? self.addresses : [...self.real, ...self.addresses];
  const source = own.find(({ family }) => family === version)?.text;
  if (source !== undefined) return source;
  throw new CliError(`this node has no IPv${version} address for ${address}; name one with --from`);
}

type Words = [number, number, number, number];

/** Throws CliError for what is no address. */
function wordsOf(text: string): Words {
  if (isIP(text) === 0) throw new CliError(`"${text}" is no address`, EXIT.usage);
  const bytes = addressBytes(text);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return [view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12)];
}

/** All that a name stands for, or the address that it is. */
async function addressesOf(host: string): Promise<string[]> {
  if (isIP(host) !== 0) return [host];
  try {
    return (await lookup(host, { all: true })).map(({ address }) => address);
  } catch (error) {
    throw new CliError(`${host} has no address (${(error as NodeJS.ErrnoException).code})`);
  }
}

/** ICMP has a number for each version of IP. */
function protocolOf(name: string): (version: number) => number {
  const numbers = Object.hasOwn(PROTOCOLS, name)
    ? PROTOCOLS[name]!
    : /^\d{1,3}$/.test(name)
      ? [Number(name)]
      : [];
  if (numbers.length === 0 || numbers[0]! > 255) {
    const known = Object.keys(PROTOCOLS).join(', ');
    throw new CliError(`"${name}" is no protocol; use ${known} or a number 0 to 255`, EXIT.usage);
  }
  return (version) => numbers[version === 6 ? numbers.length - 1 : 0]!;
}

function endOf(text: string): { host: string; port: number } {
  const bracketed = /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(text) ?? /^([^:]+)(?::(\d{1,5}))?$/.exec(text);
  const host = bracketed?.[1] ?? text;
  const port = Number(bracketed?.[2] ?? 0);
  if ((bracketed !== null || isIP(text) === 6) && port < 65_536) return { host, port };
  throw new CliError(`"${text}" is no destination; write HOST:PORT or [IPv6]:PORT`, EXIT.usage);
}

function whoOf({ user, group, cgroup }: ExplainOptions, config: Config): Who {
  const uid = user === undefined ? NO_SENDER : findUser(user);
  if (uid === undefined) throw new CliError(`this host has no user "${user}"`, EXIT.usage);
  const gid = group === undefined ? NO_SENDER : findGroup(group)?.gid;
  if (gid === undefined) throw new CliError(`this host has no group "${group}"`, EXIT.usage);
  const bit =
    cgroup === undefined ? -1 : cgroupsOf(config.intercept.rules).indexOf(cgroup.replace(/^\//, ''));
  return { user: uid, group: gid, cgroups: bit < 0 ? 0 : 1 << bit };
}

/** Where the rule stands in the file. */
function lineOf({ rule, list }: ExplainedFlow, config: Config): number | undefined {
  return rule === undefined ? undefined : config.lines?.[list ?? 'rules'][rule];
}

function render({ flows, others }: Explained, config: Config): string {
  const counted = flows.some(({ packets }) => packets > 0);
  const rows = flows.map((flow) => {
    const list = flow.list ?? 'rules';
    const rule =
      flow.rule === undefined ? [] : [`intercept.${list}[${flow.rule}], line ${lineOf(flow, config) ?? '?'}`];
    const why = [flow.why, ...rule, ...(flow.prefix === undefined ? [] : [`prefix ${flow.prefix}`])].join(
      '; ',
    );
    return [flow.flow, ...(counted ? [String(flow.packets)] : []), outcomeText(flow), why];
  });
  const head = ['flow', ...(counted ? ['packets'] : []), 'what becomes of it', 'why'];
  const shown = rows.length === 0 ? 'no IP packet' : table(head, rows, counted ? [1] : []);
  return others === 0 ? shown : `${shown}\n${others} frames hold no IP packet: untouched`;
}

const OUTCOMES = {
  direct: 'direct, as without the agent',
  drop: 'dropped',
  reject: 'refused with an ICMP error',
  refuse: 'refused: no access',
  untouched: 'untouched',
} as const;

function outcomeText({ outcome, node, service }: ExplainedFlow): string {
  return outcome === 'overlay' ? `overlay to ${node}, ${service}` : OUTCOMES[outcome];
}
