/**
 * Ways of choosing the links for a flow: a function of what is advertised, the time and whether either is news, that gives each flow's list of edges, pairs of node
 * indices; the same array while nothing changed.
 */
import { disjointPaths } from '../../dist/overlay/route/disjoint.js';
import { chooseSet } from '../../dist/overlay/route/dissemination.js';
import { linkCost } from '../../dist/overlay/route/metric.js';
import { reach, wayTo } from '../../dist/overlay/route/reach.js';
import { Redundancy } from '../../dist/overlay/route/redundancy.js';

export const DEADLINE = 65_000;

/** What is advertised, as `dissemination` takes it. */
function graphOf({ ids, starts, targets, rtt, loss }, base) {
  const sources = Int32Array.from(targets, (_, e) => starts.findIndex((start) => start > e) - 1);
  const expected = rtt.map((micros, e) => linkCost('realtime', micros / 2, loss[e]));
  return { nodes: ids.length, starts, sources, targets, expected, base: base ?? expected };
}

const pairs = ({ sources, targets }, edges) => edges.map((e) => [sources[e], targets[e]]);

const onePath = (graph, source, destination) =>
  pairs(graph, wayTo(graph, reach(graph, graph.expected, new Map([[source, 0]])), destination));
const twoPaths = (graph, source, destination) =>
  pairs(graph, disjointPaths(graph, graph.expected, source, destination).flat());

/** All edges that lie on a way within the deadline when nothing is wrong. */
function flooding(graph, source, destination) {
  const there = reach(graph, graph.expected, new Map([[source, 0]]), destination).distance;
  const isUseful = (e) => {
    const back = reach(graph, graph.expected, new Map([[graph.targets[e], 0]]), source).distance[destination];
    return there[graph.sources[e]] + graph.expected[e] + back <= DEADLINE;
  };
  const edges = Array.from(graph.targets.keys()).filter(
    (e) => graph.targets[e] !== source && graph.sources[e] !== destination && isUseful(e),
  );
  return pairs(graph, edges);
}

/** Chosen once, when all is well. */
const fixed = (choose) => (calm, flows) => {
  const graph = graphOf(calm);
  const sets = flows.map(([source, destination]) => choose(graph, source, destination));
  return () => sets;
};

/** Chosen by what is advertised now. */
const dynamic = (choose) => (calm, flows) => {
  let sets;
  return (known, now, isNews) => {
    if (sets && !isNews) return sets;
    const graph = graphOf(known);
    sets = flows.map(([source, destination]) => choose(graph, source, destination));
    return sets;
  };
};

/** The agent's own: one core for each source. */
function targeted(calm, flows) {
  const { ids } = calm;
  const cores = new Map(flows.map(([source]) => [source, new Redundancy(ids[source])]));
  let sets;
  return (known, now, isNews) => {
    let changed = false;
    for (const [source, core] of cores) {
      if (!sets || isNews) core.update(now, known);
      for (const [from, to] of flows) if (from === source) core.want(now, ids[to]);
      changed = core.timeout(now) !== undefined || changed;
    }
    if (!changed) return sets;
    sets = flows.map(([source, destination]) =>
      cores
        .get(source)
        .sets.get(ids[destination])
        .edges.map(([from, to]) => [from - 1, to - 1]),
    );
    return sets;
  };
}

const twoInTime = (graph, source, destination) =>
  chooseSet(graph, {
    source,
    destination,
    deadline: DEADLINE,
    sourceInTrouble: false,
    destinationInTrouble: false,
  }).edges;

export const SCHEMES = [
  ['one path, static', fixed(onePath)],
  ['one path, dynamic', dynamic(onePath)],
  ['two disjoint paths, static', fixed(twoPaths)],
  ['two disjoint paths, dynamic', dynamic(twoInTime)],
  ['targeted redundancy', targeted],
  ['flooding', fixed(flooding)],
];
