/**
 * Makes the scenario that bench/redundant.mjs replays, bench/redundant/continent.json. The model:
 *
 * - Twelve sites of a continental mesh, 28 links with the delays of fibre, both directions alike. Sixteen flows, coast to coast. Twelve hours.
 * - A link is clean unless an event says otherwise. Events begin at random (uniform); their length is lognormal, median 60 s, sigma 0.8, cut to 10 … 600 s.
 * - Sites: SITE_EVENTS. Every ten seconds each direction of each of the site's links is drawn anew: clean with 0.35, else losing a share that is
 *   uniform in 0.03 … 0.8 (one in eight: all of it), with 0.2 also later by an exponential time of mean 15 ms. Nearly all trouble that two paths
 *   can't pass by lies at the ends (97 % in the traces behind the published scheme), so most events are of this kind.
 * - Links: LINK_EVENTS, both directions alike for all of the event: with 0.3 the link is cut, with 0.2 later by 10 … 60 ms, else it loses 0.02 … 0.6.
 *
 *   node bench/redundant/generate.mjs [SEED]
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { random } from './random.mjs';

const SEED = Number(process.argv[2] ?? 20_171_206);
const SECONDS = 12 * 3600;
const SITE_EVENTS = 40;
const LINK_EVENTS = 40;
const REDRAW = 10;

const SITES = ['sea', 'sjc', 'lax', 'phx', 'den', 'dal', 'chi', 'atl', 'mia', 'was', 'nyc', 'bos'];
/** Milliseconds one way. */
const LINKS =
  `sea-sjc 9, sea-den 13, sea-chi 24, sjc-lax 4, sjc-den 12, sjc-dal 18, sjc-chi 25, lax-phx 5, lax-dal 16, lax-atl 24, phx-den 9,
  phx-dal 11, den-dal 9, den-chi 12, dal-chi 11, dal-atl 10, dal-mia 15, chi-atl 9, chi-was 9, chi-nyc 10, chi-bos 12, atl-mia 8, atl-was 7,
  mia-was 12, was-nyc 3, was-bos 6, nyc-bos 3, nyc-atl 10`
    .split(',')
    .map((text) => {
      const [, a, b, ms] = /(\w+)-(\w+) (\d+)/.exec(text);
      return { between: [a, b], micros: Number(ms) * 1000 };
    });
const FLOWS = ['sea', 'sjc', 'lax', 'phx'].flatMap((west, i) =>
  ['nyc', 'was', 'bos', 'mia'].map((east, k) => ((i + k) % 2 === 0 ? [west, east] : [east, west])),
);

const next = random(SEED);
const uniform = (from, to) => from + (to - from) * next();
const round = (x) => Math.round(x * 1000) / 1000;

function span() {
  const gauss = Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  const length = Math.round(Math.min(600, Math.max(10, 60 * Math.exp(0.8 * gauss))));
  const from = Math.floor(uniform(60, SECONDS - 700));
  return [from, from + length];
}

/** [from s, to s, site it leaves, site it leads to, share lost, µs later] */
const changes = [];
for (let event = 0; event < SITE_EVENTS; event++) {
  const [from, to] = span();
  const site = SITES[Math.floor(next() * SITES.length)];
  const mine = LINKS.filter(({ between }) => between.includes(site));
  for (let at = from; at < to; at += REDRAW) {
    for (const { between } of mine) {
      for (const [a, b] of [between, between.toReversed()]) {
        if (next() < 0.35) continue;
        const loss = next() < 1 / 8 ? 1 : round(uniform(0.03, 0.8));
        const later = next() < 0.2 ? Math.round(-15_000 * Math.log(1 - next())) : 0;
        changes.push([at, Math.min(to, at + REDRAW), a, b, loss, later]);
      }
    }
  }
}
for (let event = 0; event < LINK_EVENTS; event++) {
  const [from, to] = span();
  const { between } = LINKS[Math.floor(next() * LINKS.length)];
  const kind = next();
  const loss = kind < 0.3 ? 1 : kind < 0.5 ? 0 : round(uniform(0.02, 0.6));
  const later = kind >= 0.3 && kind < 0.5 ? Math.round(uniform(10_000, 60_000)) : 0;
  for (const [a, b] of [between, between.toReversed()]) changes.push([from, to, a, b, loss, later]);
}
changes.sort((a, b) => a[0] - b[0]);

const lines = changes.map((change) => `  ${JSON.stringify(change)}`).join(',\n');
const head = { seed: SEED, seconds: SECONDS, sites: SITES, links: LINKS, flows: FLOWS };
const text = `${JSON.stringify(head).slice(0, -1)},"changes":[\n${lines}\n]}\n`;
writeFileSync(join(import.meta.dirname, 'continent.json'), text);
