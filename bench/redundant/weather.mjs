/** The links of the scenario over time: what they do to packets, and what the nodes that measure them advertise. Steps of a tenth of a second. */
import { RecordLoss } from '../../dist/overlay/link/quality/record-loss.js';
import { OwnLinks } from '../../dist/overlay/route/own-links.js';
import { buildGraph } from '../../dist/overlay/route/spf.js';
import { DEFAULT_TUNING } from '../../dist/overlay/route/tuning.js';
import { random } from './random.mjs';

export const STEP = 100_000;
const SECOND = 1_000_000;
/** A link that loses everything is down half a second later, and up again when hellos pass for as long. */
const DETECTION = 500_000;
/** Records a step that a link carries: a flow's packets and a hello. */
const RECORDS = 11;
/** After the last event nodes go on measuring for so long, until nothing of it is left. */
const AFTERMATH = 200 * SECOND;

export class Weather {
  /** By edge, both directions of each link: from, to (node indices), µs one way as built and at present, share lost. */
  edges = [];
  /** Edges that aren't clean at present. */
  foul = new Set();
  /** What the nodes advertise, as the graph that all of them see; replaced with each change. */
  known;
  #own;
  #losses;
  #tallies;
  #cutSince;
  #clearSince;
  #isUp;
  #byName;
  #changes;
  #next = 0;
  #ends = [];
  #calmAt = 0;
  #next01;

  constructor({ sites, links, changes, seed }) {
    this.#changes = changes;
    this.#next01 = random(seed ^ 0x5bd1e995);
    this.#byName = new Map();
    for (const { between, micros } of links) {
      for (const [a, b] of [between, between.toReversed()]) {
        this.#byName.set(`${a}-${b}`, this.edges.length);
        this.edges.push({ from: sites.indexOf(a), to: sites.indexOf(b), base: micros, micros, loss: 0 });
      }
    }
    this.ids = Uint32Array.from(sites, (_, i) => i + 1);
    this.#losses = this.edges.map(() => new RecordLoss());
    this.#tallies = this.edges.map(() => ({ type: 'tally', sealed: 0, arrived: 0, gaps: 0 }));
    this.#cutSince = this.edges.map(() => Infinity);
    this.#clearSince = this.edges.map(() => 0);
    this.#isUp = this.edges.map(() => true);
    this.#own = sites.map(() => new OwnLinks(DEFAULT_TUNING));
    for (const { from, to, base } of this.edges) this.#own[from].up(-60 * SECOND, to + 1, 2 * base);
    this.#advertise();
  }

  /** Goes to time `now`, µs. Whether what is advertised changed. */
  advance(now) {
    this.#change(now / SECOND);
    if (now > this.#calmAt) return false;
    let isNews = false;
    this.edges.forEach((edge, e) => (isNews = this.#measure(now, edge, e) || isNews));
    for (const own of this.#own) isNews = own.timeout(now) || isNews;
    if (isNews) this.#advertise();
    return isNews;
  }

  /** Whether nothing is wrong, and nobody remembers that anything was. */
  isCalm(now) {
    return now > this.#calmAt;
  }

  /** Whether both ends take the link of an edge for up: without that nothing is sent over it. */
  isUp(e) {
    return this.#isUp[e] && this.#isUp[e ^ 1];
  }

  #change(second) {
    const isOver = this.#ends.filter(({ at }) => at <= second);
    this.#ends = this.#ends.filter(({ at }) => at > second);
    for (const { e } of isOver) if (!this.#ends.some((end) => end.e === e)) this.#set(e, 0, 0);
    for (; this.#next < this.#changes.length && this.#changes[this.#next][0] <= second; this.#next++) {
      const [, at, a, b, loss, later] = this.#changes[this.#next];
      const e = this.#byName.get(`${a}-${b}`);
      this.#set(e, loss, later);
      this.#ends.push({ at, e });
      this.#calmAt = Math.max(this.#calmAt, at * SECOND + AFTERMATH);
    }
  }

  #set(e, loss, later) {
    const edge = this.edges[e];
    edge.loss = loss;
    edge.micros = edge.base + later;
    if (loss > 0 || later > 0) this.foul.add(e);
    else this.foul.delete(e);
  }

  /** What the node at the edge's beginning learns in a step: whether the link is up, its round trip, its loss. */
  #measure(now, edge, e) {
    const back = this.edges[e ^ 1];
    const isCut = edge.loss === 1 || back.loss === 1;
    this.#cutSince[e] = isCut ? Math.min(this.#cutSince[e], now) : Infinity;
    if (isCut) this.#clearSince[e] = Infinity;
    else this.#clearSince[e] = Math.min(this.#clearSince[e], now);
    const own = this.#own[edge.from];
    const peer = edge.to + 1;
    if (isCut) {
      if (!this.#isUp[e] || now - this.#cutSince[e] < DETECTION) return false;
      this.#isUp[e] = false;
      return own.down(now, peer);
    }
    const measure = { rtt: edge.micros + back.micros, loss: this.#lossOf(now, edge, e), burst: 1, price: 0 };
    if (this.#isUp[e]) return own.measured(now, peer, measure);
    if (now - this.#clearSince[e] < DETECTION) return false;
    this.#isUp[e] = true;
    own.up(now, peer, measure.rtt);
    own.measured(now, peer, measure);
    return true;
  }

  /** In parts per million, as `RecordLoss` makes of what came of the step's records. */
  #lossOf(now, { loss }, e) {
    let { sealed, arrived, gaps } = this.#tallies[e];
    let wasLost = false;
    for (let k = 0; k < RECORDS; k++) {
      const isLost = loss > 0 && this.#next01() < loss;
      sealed++;
      if (!isLost) arrived++;
      else if (!wasLost) gaps++;
      wasLost = isLost;
    }
    this.#tallies[e] = { type: 'tally', sealed, arrived, gaps };
    this.#losses[e].take(now, this.#tallies[e], false);
    return this.#losses[e].loss * 1e6;
  }

  #advertise() {
    const linksOf = this.#own.map((own) => own.list());
    this.known = { ids: this.ids, ...buildGraph(this.ids, linksOf) };
  }
}
