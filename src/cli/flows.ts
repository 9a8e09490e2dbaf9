/** `causeway flows`, and `causeway flow set` for those that run. */
import type { Command } from 'commander';
import { Argument, Option } from 'commander';
import { SERVICE_NAMES } from '../intercept/services.js';
import type {
  FlowEnds,
  FlowRedundancy,
  FlowSetRequest,
  FlowsRequest,
  FlowStatus,
  IncomingFlow,
  OutgoingFlow,
  ServiceName,
} from '../control/api.js';
import { ApiError } from '../control/api.js';
import { clientOf, json, withJson, withSocket } from './context.js';
import type { CommonOptions, Output } from './context.js';
import { CliError, EXIT } from './errors.js';
import { bytes, duration, rate, table } from './format.js';

interface FlowsOptions extends CommonOptions {
  incoming?: boolean;
  outgoing?: boolean;
  to?: string;
}

interface FlowSetOptions extends CommonOptions {
  clear?: boolean;
}

const FLOW_SET_HELP = `
PROTO is tcp, udp, icmp, sctp, a number or "*". SRC and DST are an address, a prefix or "*", with a port behind a
colon if one is meant: 10.77.0.1:22, "[fd77::1]:22", "*:22". Only flows that run now are set; see "causeway flows".`;

export function registerFlows(program: Command, output: Output): void {
  const flows = program
    .command('flows')
    .description("show each flow's service, way and what recovery did for it")
    .addOption(new Option('--incoming', 'only flows that end here').conflicts(['outgoing', 'to']))
    .option('--outgoing', 'only flows that begin here')
    .option('--to <prefix>', 'only flows from here to this address or prefix');
  withSocket(withJson(flows)).action((options: FlowsOptions) => runFlows(options, output));

  const set = program
    .command('flow')
    .description('choose the service of flows that run')
    .command('set')
    .description('choose the service of flows that run')
    .argument('<proto>')
    .argument('<src>')
    .argument('<dst>')
    .addArgument(new Argument('[service]', 'the service').choices(SERVICE_NAMES))
    .option('--clear', 'leave them to rules, DSCP and defaults again')
    .addHelpText('after', FLOW_SET_HELP);
  withSocket(withJson(set)).action(
    (proto: string, src: string, dst: string, service: ServiceName | undefined, options: FlowSetOptions) =>
      runFlowSet({ protocol: proto, source: src, destination: dst }, service, options, output),
  );
}

async function runFlows(options: FlowsOptions, { out }: Output): Promise<void> {
  const { incoming, outgoing, to } = options;
  const oneWay = outgoing === true || to !== undefined ? 'out' : 'both';
  const request: FlowsRequest = {
    direction: incoming === true ? 'in' : oneWay,
    ...(to !== undefined && { to }),
  };
  const flows = await clientOf(options).flows(request);
  out(options.json === true ? json(flows) : renderFlows(flows, request.direction));
}

async function runFlowSet(
  which: Omit<FlowSetRequest, 'service'>,
  service: ServiceName | undefined,
  options: FlowSetOptions,
  { out }: Output,
): Promise<void> {
  if ((service === undefined) !== (options.clear === true)) {
    const message = `name a service (${SERVICE_NAMES.join(', ')}) or --clear, one of them`;
    throw new CliError(message, EXIT.usage);
  }
  await checkMatch(which);
  const result = await clientOf(options).setFlows({ ...which, service: service ?? null });
  if (options.json === true) return out(json(result));
  const count = `${result.flows} flow${result.flows === 1 ? '' : 's'}`;
  out(service === undefined ? `${count} left to the rules again` : `${count} set to ${service}`);
}

/** What no agent would take is wrong usage. */
async function checkMatch(which: Omit<FlowSetRequest, 'service'>): Promise<void> {
  const { parseFlowMatch } = await import('../control/flow-match.js');
  try {
    parseFlowMatch(which);
  } catch (error) {
    throw error instanceof ApiError ? new CliError(error.message, EXIT.usage) : error;
  }
}

export function renderFlows(flows: readonly FlowStatus[], direction: FlowsRequest['direction']): string {
  const outgoing = flows.filter((flow) => flow.direction === 'out');
  const incoming = flows.filter((flow) => flow.direction === 'in');
  const parts: string[] = [];
  if (direction !== 'in') parts.push(renderOutgoing(outgoing));
  if (direction !== 'out') parts.push(renderIncoming(incoming));
  return parts.join('\n\n');
}

function renderOutgoing(flows: readonly OutgoingFlow[]): string {
  if (flows.length === 0) return 'no flows from here within two minutes';
  const head = ['from here', 'to', 'proto', 'node', 'way', 'service', 'by', 'idle'];
  const counts = ['packets', 'bytes', 'rate', 'sent again', 'copies'];
  const rows = flows.map((flow) => [
    source(flow),
    destination(flow),
    flow.protocol ?? '?',
    flow.node,
    way(flow),
    flow.service ?? 'not chosen yet',
    reason(flow),
    duration(flow.idleSeconds),
    String(flow.packets),
    bytes(flow.bytes),
    rate(flow.bytesPerSecond),
    String(flow.retransmissions),
    String(flow.copies),
  ]);
  return table([...head, ...counts], rows, [7, 8, 9, 10, 11, 12]);
}

function renderIncoming(flows: readonly IncomingFlow[]): string {
  if (flows.length === 0) return 'no recovered flows to here within two minutes';
  const head = ['to here', 'from', 'proto', 'node', 'service', 'idle'];
  const counts = ['delivered', 'put in order', 'gaps skipped', 'duplicates', 'held'];
  const rows = flows.map((flow) => [
    destination(flow),
    source(flow),
    flow.protocol ?? '?',
    flow.node,
    flow.service,
    duration(flow.idleSeconds),
    ...[flow.delivered, flow.reordered, flow.skipped, flow.duplicates, flow.held].map(String),
  ]);
  return table([...head, ...counts], rows, [5, 6, 7, 8, 9, 10]);
}

const source = (ends: FlowEnds): string => endText(ends.source, ends.sourcePort);
const destination = (ends: FlowEnds): string => endText(ends.destination, ends.destinationPort);

function endText(address: string | null, port: number | null): string {
  if (address === null) return '?';
  if (port === null) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function way({ via, hops, node, redundancy }: OutgoingFlow): string {
  if (redundancy !== null && REDUNDANT[redundancy.kind] !== undefined) {
    return `${REDUNDANT[redundancy.kind]}: ${chains(redundancy.edges).join(', ')}`;
  }
  if (redundancy?.kind === 'single') return `${plainWay(via, hops, node)}, no second`;
  return plainWay(via, hops, node);
}

const REDUNDANT: Partial<Record<FlowRedundancy['kind'], string>> = {
  disjoint: '2 paths',
  shared: '2 paths with links in common',
  source: 'source in trouble',
  destination: 'destination in trouble',
  both: 'both ends in trouble',
};

/** Edges that follow each other in one word: `a-m-b`. */
function chains(edges: readonly (readonly [string, string])[]): string[] {
  const found: string[][] = [];
  for (const [from, to] of edges) {
    const last = found.at(-1);
    if (last?.at(-1) === from) last.push(to);
    else found.push([from, to]);
  }
  return found.map((chain) => chain.join('-'));
}

function plainWay(via: string | null, hops: number | null, node: string): string {
  if (via === null || hops === null) return 'none';
  return via === node ? 'direct' : `via ${via}, ${hops} hops`;
}

function reason({ why, rule }: OutgoingFlow): string {
  if (why === null) return '–';
  return why === 'rule' ? `rules[${rule}]` : why;
}
