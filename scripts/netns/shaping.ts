/**
 * Links: a plain veth pair where nothing is asked of it; otherwise the kernel's netem on one; otherwise two pairs with the emulator between
 * them. `mesh link` comes here too: it shapes what is there, or makes a plain link anew as one that can be shaped.
 */
import { failed } from './errors.js';
import {
  addLines,
  emulatorBinary,
  emulatorInterfaces,
  request,
  shapeLine,
  startEmulator,
} from './emulator.js';
import { netemLines } from './netem.js';
import { configureEnds, ipBatch, namespaceOfEnd, pairLines, setEndDown } from './network.js';
import { emulatorNamespace } from './plan.js';
import { isAlive, run, succeeds } from './process.js';
import { isPlain, type Shape } from './quantity.js';
import { saveState, type Direction, type LinkKind, type LinkState, type MeshState } from './state.js';

const sides = [0, 1] as const;

/** Makes all links of a new mesh, and returns its state with their kinds and the emulator's process. */
export async function createLinks(state: MeshState): Promise<MeshState> {
  const shaped = state.links.some((link) => !link.directions.every(isPlain));
  const kind = shaped ? await shapedKind(state) : 'veth';
  const links = state.links.map((link): LinkState => ({
    ...link,
    kind: link.directions.every(isPlain) ? 'veth' : kind,
  }));
  let next: MeshState = { ...state, links };
  await ipBatch(
    links.flatMap((link) => (link.kind === 'emulator' ? emulatedLines(next, link) : pairLines(next, link))),
  );
  await prepareEmulated(next, links);
  await configureEnds(next, links);
  if (links.some((link) => link.kind === 'emulator')) {
    next = { ...next, emulator: await startEmulator(next) };
    saveState(next);
  }
  for (const link of links.filter((one) => one.kind === 'netem')) {
    for (const side of sides) await applyQueueingDiscipline(next, link, side);
  }
  return next;
}

/** What `mesh link` asks for in one direction; what is absent stays as it was. */
export interface Change extends Partial<Shape> {
  readonly blackhole?: boolean;
  readonly down?: boolean;
}

/** Changes the given directions of a link, and returns the mesh's new state, saved. */
export async function changeLink(
  state: MeshState,
  link: LinkState,
  changes: readonly [Change, Change],
): Promise<MeshState> {
  const directions = sides.map((side): Direction => ({ ...link.directions[side], ...changes[side] }));
  const needsShaping = link.kind === 'veth' && !directions.every(isPlain);
  const changed: LinkState = {
    ...link,
    kind: needsShaping ? await shapedKind(state) : link.kind,
    directions: directions as [Direction, Direction],
  };
  let next: MeshState = {
    ...state,
    links: state.links.map((one) => (one.index === link.index ? changed : one)),
  };
  if (needsShaping) await remake(next, link, changed);
  next = await applyShape(next, changed, link.kind !== changed.kind);
  await applyUpAndDown(next, link, changed);
  saveState(next);
  return next;
}

/** A plain pair can't be opened to put the emulator in: both ends are made anew, with the same names and addresses. */
async function remake(state: MeshState, before: LinkState, after: LinkState): Promise<void> {
  if (after.kind === 'netem') return offloadsOff(state, after);
  const [end] = before.ends;
  await ipBatch([`link del ${end.interface}`], namespaceOfEnd(state, end));
  await ipBatch(emulatedLines(state, after));
  await prepareEmulated(state, [after]);
  await configureEnds(state, [after]);
}

async function applyShape(state: MeshState, link: LinkState, isNew: boolean): Promise<MeshState> {
  if (link.kind !== 'emulator') {
    for (const side of sides) await applyQueueingDiscipline(state, link, side);
    return state;
  }
  if (!isAlive(state.emulator)) return { ...state, emulator: await startEmulator(state) };
  const lines = sides.map((side) => shapeLine(link.index, side, link.directions[side]));
  await request(state.name, isNew ? addLines(link, state.seed) : lines);
  return state;
}

/** Both ends of a link that comes up are set anew: with an interface, the kernel takes down what hangs on it. */
async function applyUpAndDown(state: MeshState, before: LinkState, after: LinkState): Promise<void> {
  const remade = before.kind !== after.kind;
  for (const side of sides) {
    if (after.directions[side].down && (remade || !before.directions[side].down))
      await setEndDown(state, after.ends[side]);
  }
  if (sides.some((side) => before.directions[side].down && !after.directions[side].down))
    await configureEnds(state, [after]);
}

/** What plain and netem links do to the frames that leave one end. A blackhole takes them without a word to the sender. */
async function applyQueueingDiscipline(state: MeshState, link: LinkState, side: 0 | 1): Promise<void> {
  const { interface: device } = link.ends[side];
  const namespace = namespaceOfEnd(state, link.ends[side]);
  const direction = link.directions[side];
  await succeeds('tc', ['-n', namespace, 'qdisc', 'del', 'dev', device, 'root']);
  const lines = direction.blackhole
    ? [`qdisc add dev ${device} root blackhole`]
    : isPlain(direction)
      ? []
      : netemLines(device, direction, link.mtu);
  if (lines.length > 0) await run('tc', ['-n', namespace, '-batch', '-'], `${lines.join('\n')}\n`);
}

/** `CAUSEWAY_MESH_LINKS` may choose `netem` or `emulator`; else netem where the kernel has it. */
async function shapedKind(state: MeshState): Promise<Exclude<LinkKind, 'veth'>> {
  const chosen = process.env['CAUSEWAY_MESH_LINKS'];
  if (chosen === 'netem' || chosen === 'emulator') return chosen;
  if (chosen !== undefined && chosen !== '')
    throw failed(`CAUSEWAY_MESH_LINKS is "${chosen}": use netem or emulator`);
  const namespace = emulatorNamespace(state.name);
  const probe = ['-n', namespace, 'qdisc'];
  if (!(await succeeds('tc', [...probe, 'add', 'dev', 'lo', 'root', 'netem', 'delay', '1ms'])))
    return 'emulator';
  await run('tc', [...probe, 'del', 'dev', 'lo', 'root']);
  return 'netem';
}

const emulatedLines = (state: MeshState, link: LinkState): string[] =>
  sides.map((side) => {
    const end = link.ends[side];
    return (
      `link add ${end.interface} mtu ${link.mtu} address ${end.mac} netns ${namespaceOfEnd(state, end)} type veth ` +
      `peer name ${emulatorInterfaces(link)[side]} mtu ${link.mtu} netns ${emulatorNamespace(state.name)}`
    );
  });

/** Frames that are delayed or lost must be frames as a wire has them: no larger than the MTU, with their checksums. */
async function prepareEmulated(state: MeshState, links: readonly LinkState[]): Promise<void> {
  const emulated = links.filter((link) => link.kind === 'emulator');
  const ends = emulated.flatMap(emulatorInterfaces);
  await ipBatch(
    ends.map((name) => `link set ${name} arp off up`),
    emulatorNamespace(state.name),
  );
  for (const link of links.filter((one) => one.kind !== 'veth')) await offloadsOff(state, link);
}

async function offloadsOff(state: MeshState, link: LinkState): Promise<void> {
  const program = await emulatorBinary();
  for (const end of link.ends) {
    await run('ip', ['netns', 'exec', namespaceOfEnd(state, end), program, 'offloads-off', end.interface]);
  }
}
