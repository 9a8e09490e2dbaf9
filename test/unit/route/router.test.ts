import { describe, expect, it } from 'vitest';

import { NO_OWNER, NOBODY } from '../../../src/overlay/route/prefix-table.js';
import type { RouterAction } from '../../../src/overlay/route/actions.js';
import { decodeRecord } from '../../../src/overlay/route/record.js';
import { encodeDigest, encodeRequest, WANT } from '../../../src/overlay/route/messages.js';
import {
  certificateMessage,
  drops,
  LoneRouter,
  notices,
  recordMessage,
  sent,
} from '../../support/sim/lone-router.js';
import { cleanLink } from '../../support/ways.js';

const SECOND = 1_000_000;
const MINUTE = 60 * SECOND;
const address = (last: number): number => ((10 << 24) | (77 << 16) | last) >>> 0;

/** The records of node 1 itself among what was sent, newest last. */
function ownRecords(actions: readonly RouterAction[]) {
  return sent(actions).flatMap((message) => {
    if (message.type !== 'record') return [];
    const decoded = decodeRecord(message.record);
    return decoded.ok && decoded.value.origin === 1 ? [decoded.value] : [];
  });
}

/** Node 1 with its neighbour 2 and, behind it, 3:   1 ── 2 ── 3 */
function chainOfThree(): LoneRouter {
  const node = new LoneRouter();
  node.pass(0);
  node.up(2);
  node.hear(2, certificateMessage(2), recordMessage(2, { 1: 10_000, 3: 20_000 }));
  node.hear(2, certificateMessage(3), recordMessage(3, { 2: 20_000 }));
  node.pass(SECOND);
  return node;
}

describe('a router', () => {
  it('forwards to a node behind its neighbour, and knows who owns which address', () => {
    const { tables } = chainOfThree();
    const three = tables!.owner4(address(3));
    expect(tables!.nodeId(three)).toBe(3);
    expect(tables!.nextHop(three, 0)).toBe(2);
    expect(tables!.hops(three)).toBe(2);
    expect(tables!.cost(three, 0)).toBe(15_200);
    expect(tables!.name(three)).toBe('n3');
    expect(tables!.address4(three)).toBe(address(3));
    expect(tables!.indexOf(3)).toBe(three);
    expect(tables!.nextHop(tables!.ownIndex, 0)).toBe(1);
  });

  it("tells the overlay's own addresses without an owner from all others", () => {
    const { tables } = chainOfThree();
    expect(tables!.owner4(address(99))).toBe(NOBODY);
    expect(tables!.owner4(0x08080808)).toBe(NO_OWNER);
  });

  it('greets a new neighbour with its certificate, its digest and then a record of the link', () => {
    const node = new LoneRouter();
    node.pass(0);
    const greeting = sent(node.up(2));
    expect(greeting.map(({ type, peer }) => [type, peer])).toEqual([
      ['certificate', 2],
      ['digest', 2],
    ]);
    const [record] = ownRecords(node.pass(SECOND));
    expect(record.links).toEqual([cleanLink(2, 10_000)]);
  });

  it('floods news to all neighbours but the one it came from, and only once', () => {
    //      2
    //     /
    //    1 ── 3        2 says something; 3 and 4 hear it from 1
    //     \
    //      4
    const node = new LoneRouter();
    for (const peer of [2, 3, 4]) node.up(peer);
    node.pass(SECOND);
    const news = recordMessage(2, { 1: 10_000 });
    const to = (actions: readonly RouterAction[]) =>
      sent(actions).map(({ type, peer }) => `${type} to ${peer}`);
    expect(to(node.hear(2, certificateMessage(2)))).toEqual(['certificate to 3', 'certificate to 4']);
    expect(to(node.hear(2, news))).toEqual(['record to 3', 'record to 4']);
    expect(to(node.hear(3, certificateMessage(2), news))).toEqual([]);
  });

  it('floods fields that it does not know as they came', () => {
    const node = new LoneRouter();
    node.up(2);
    node.up(3);
    const unknown = Uint8Array.of(0x63, 0, 3, 1, 2, 3);
    const message = recordMessage(2, { 1: 10_000 }, { extra: unknown });
    node.hear(2, certificateMessage(2));
    const [action] = node.hear(2, message).filter(({ type }) => type === 'send');
    expect(action).toEqual({ type: 'send', peer: 3, bytes: message });
  });

  it('adds the time that it held a record to the age', () => {
    const node = new LoneRouter();
    node.up(2);
    node.hear(2, certificateMessage(2), recordMessage(2, { 1: 10_000 }, { age: 5_000 }));
    node.pass(7 * SECOND);
    node.up(3);
    const [answer] = sent(node.hear(3, ...encodeRequest([{ origin: 2, what: WANT.record }])));
    expect(answer).toMatchObject({ type: 'record', age: 12_000, peer: 3 });
  });

  it('answers an older record with the newer one', () => {
    const node = new LoneRouter();
    node.up(2);
    node.up(3);
    node.hear(2, certificateMessage(2), recordMessage(2, { 1: 10_000 }, { sequence: 7 }));
    const [answer] = sent(node.hear(3, recordMessage(2, {}, { sequence: 6 })));
    expect(answer).toMatchObject({ type: 'record', peer: 3 });
    expect(node.router.db.records.get(2)!.record.sequence).toBe(7);
  });

  it('settles two records of one version on the same one in either order', () => {
    const rivals = [recordMessage(2, { 1: 10_000 }), recordMessage(2, { 1: 90_000 })];
    const kept = [rivals, [...rivals].reverse()].map((messages) => {
      const node = new LoneRouter();
      node.up(2);
      node.hear(2, certificateMessage(2), ...messages);
      return node.router.db.records.get(2)!.record.links[0].rtt;
    });
    expect(kept[0]).toBe(kept[1]);
  });
});

describe('synchronisation', () => {
  it('asks for what the digest has and this node lacks, and for no more', () => {
    const node = chainOfThree();
    const held = node.router.db.digest();
    const same = held.find(({ origin }) => origin === 2)!;
    const newer = { ...held.find(({ origin }) => origin === 3)!, sequence: 9 };
    const unknown = { origin: 4, epoch: 1, sequence: 1, certificate: 0x01020304 };
    const asked = sent(node.hear(2, ...encodeDigest([same, newer, unknown])));
    expect(asked).toEqual([
      {
        ...{ type: 'request', peer: 2 },
        rows: [
          { origin: 3, what: WANT.record },
          { origin: 4, what: WANT.record | WANT.certificate },
        ],
      },
    ]);
  });

  it('asks one neighbour of several, and the next one when the first is gone', () => {
    const node = new LoneRouter();
    node.up(2);
    node.up(3);
    const digest = encodeDigest([{ origin: 9, epoch: 1, sequence: 1, certificate: 5 }]);
    expect(sent(node.hear(2, ...digest)).map(({ peer }) => peer)).toEqual([2]);
    expect(sent(node.hear(3, ...digest))).toEqual([]);
    node.down(2);
    const requests = sent(node.pass(SECOND)).filter(({ type }) => type === 'request');
    expect(requests.map(({ peer }) => peer)).toEqual([3]);
  });

  it('asks another neighbour when the first does not answer, and gives up in the end', () => {
    const node = new LoneRouter();
    node.up(2);
    node.up(3);
    const digest = encodeDigest([{ origin: 9, epoch: 1, sequence: 1, certificate: 5 }]);
    node.hear(2, ...digest);
    node.hear(3, ...digest);
    const peers = sent(node.pass(10 * MINUTE)).flatMap(({ type, peer }) =>
      type === 'request' ? [peer] : [],
    );
    expect(peers).toEqual([3, 2, 3]);
  });

  it('keeps a record until its certificate comes, and asks its sender for that', () => {
    const node = new LoneRouter();
    node.up(2);
    const record = recordMessage(9, { 2: 1_000 });
    expect(sent(node.hear(2, record))).toEqual([
      { type: 'request', peer: 2, rows: [{ origin: 9, what: WANT.certificate }] },
    ]);
    expect(node.router.db.records.has(9)).toBe(false);
    node.hear(2, certificateMessage(9));
    expect(node.router.db.records.get(9)!.record.links).toEqual([cleanLink(2, 1_000)]);
  });

  it('keeps only so many records without certificates', () => {
    const node = new LoneRouter({ maxWaiting: 3 });
    node.up(2);
    const flood = [10, 11, 12, 13, 14].map((origin) => recordMessage(origin, {}));
    expect(drops(node.hear(2, ...flood))).toEqual(['no-certificate', 'no-certificate']);
  });

  it('answers requests only so fast', () => {
    const node = new LoneRouter({ maxNodes: 10 });
    node.up(2);
    const rows = Array.from({ length: 30 }, () => ({ origin: 1, what: WANT.certificate }));
    const actions = node.hear(2, ...encodeRequest(rows));
    expect(sent(actions)).toHaveLength(20);
    expect(drops(actions)).toEqual(['request-limit']);
  });
});

describe('what does not verify', () => {
  it('is dropped and counted: a record signed by another node', () => {
    const node = chainOfThree();
    const forged = recordMessage(3, { 2: 1, 1: 1 }, { sequence: 2, signer: 2 });
    const actions = node.hear(2, forged);
    expect(drops(actions)).toEqual(['signature']);
    expect(sent(actions)).toEqual([]);
    expect(node.router.counters.drops.signature).toBe(1);
    expect(node.router.db.records.get(3)!.record.sequence).toBe(1);
  });

  it('is dropped and counted: a foreign certificate, which changes no owner', () => {
    const node = chainOfThree();
    const foreign = certificateMessage(4, { addresses: ['10.77.0.3'], foreign: true });
    const actions = node.hear(2, foreign, recordMessage(4, { 2: 1_000 }));
    expect(drops(actions)).toEqual(['certificate-refused']);
    node.pass(SECOND);
    expect(node.tables!.nodeId(node.tables!.owner4(address(3)))).toBe(3);
    expect(node.tables!.indexOf(4)).toBe(-1);
  });

  it('is dropped: a certificate under the id of another node', () => {
    const node = chainOfThree();
    const misnamed = certificateMessage(3);
    misnamed[4] = 7;
    expect(drops(node.hear(2, misnamed))).toEqual(['certificate-origin']);
  });

  it('is no longer examined when a neighbour sends too much of it', () => {
    const node = chainOfThree();
    const forge = (sequence: number): Uint8Array => recordMessage(3, {}, { sequence, signer: 2 });
    const reasons = drops(node.hear(2, ...Array.from({ length: 150 }, (_, i) => forge(i + 2))));
    expect(new Set(reasons.slice(0, 100))).toEqual(new Set(['signature']));
    expect(new Set(reasons.slice(-40))).toEqual(new Set(['neighbour-distrusted']));
  });

  it('is dropped: anything from a node whose link is not up', () => {
    expect(drops(new LoneRouter().hear(2, certificateMessage(2)))).toEqual(['no-link']);
  });

  it('is dropped: a record older than its lifetime', () => {
    const node = chainOfThree();
    expect(drops(node.hear(2, recordMessage(3, {}, { sequence: 2, age: 3_600_000 })))).toEqual([
      'record-aged',
    ]);
  });
});

describe('certificates', () => {
  it('of equal claims the older one counts, and both nodes are named', () => {
    const node = chainOfThree();
    const younger = certificateMessage(4, { addresses: ['10.77.0.3'], notBefore: 5_000 });
    const actions = [...node.hear(2, younger, recordMessage(4, { 2: 1 })), ...node.pass(SECOND)];
    expect(notices(actions)).toContainEqual({
      ...{ kind: 'prefix-conflict', winner: 'n3', loser: 'n4' },
      prefix: { bytes: Uint8Array.of(10, 77, 0, 3), length: 32 },
    });
    expect(node.tables!.nodeId(node.tables!.owner4(address(3)))).toBe(3);
  });

  it('of two names with one id keep the lower name, whichever comes first', () => {
    const node = chainOfThree();
    const higher = node.hear(2, certificateMessage(3, { name: 'zed' }));
    expect(notices(higher)).toEqual([{ kind: 'id-collision', nodeId: 3, kept: 'n3', refused: 'zed' }]);
    expect(node.router.db.certificates.get(3)!.certificate.name).toBe('n3');
    const lower = node.hear(2, certificateMessage(3, { name: 'able' }));
    expect(notices(lower)).toEqual([{ kind: 'id-collision', nodeId: 3, kept: 'able', refused: 'n3' }]);
    expect(node.router.db.certificates.get(3)!.certificate.name).toBe('able');
  });

  it('renewed with another key replace the old and forget what that one signed', () => {
    const node = chainOfThree();
    node.hear(2, recordMessage(3, {}, { sequence: 2 })); // it stops, and starts again with the new one
    node.pass(SECOND);
    node.hear(2, certificateMessage(3, { notBefore: 10, keyOf: 33 }));
    expect(node.router.db.records.has(3)).toBe(false);
    node.hear(2, certificateMessage(3));
    expect(node.router.db.certificates.get(3)!.certificate.notBefore).toBe(10);
  });

  it('that expire take their node with them', () => {
    const node = new LoneRouter();
    node.up(2);
    node.hear(2, certificateMessage(2, { notAfter: Date.UTC(2030, 0, 1, 0, 1) }));
    node.pass(50 * SECOND);
    expect(node.tables!.indexOf(2)).toBeGreaterThan(-1);
    node.pass(50 * SECOND);
    expect(node.tables!.indexOf(2)).toBe(-1);
  });

  it('beyond the limit are dropped', () => {
    const node = new LoneRouter({ maxNodes: 2 });
    node.up(2);
    expect(drops(node.hear(2, certificateMessage(2), certificateMessage(3)))).toEqual(['too-many-nodes']);
  });

  it('of this node that are newer than its own are reported', () => {
    const node = new LoneRouter();
    node.up(2);
    const renewed = certificateMessage(1, { notBefore: 99 });
    expect(notices(node.hear(2, renewed))).toEqual([{ kind: 'own-certificate-superseded' }]);
  });
});

describe('its own record', () => {
  it('jumps past a newer one of an earlier run', () => {
    const node = new LoneRouter({}, 100);
    node.up(2);
    const actions = node.hear(2, recordMessage(1, { 5: 1_000 }, { epoch: 200, sequence: 57 }));
    expect(notices(actions)).toEqual([{ kind: 'epoch-overtaken', epoch: 200 }]);
    const [record] = ownRecords([...actions, ...node.pass(SECOND)]).reverse();
    expect(record).toMatchObject({ epoch: 200, sequence: 58, links: [{ neighbour: 2, rtt: 10_000 }] });
    expect(node.router.epoch).toBe(200);
  });

  it('does not jump for what its key did not sign', () => {
    const node = new LoneRouter();
    node.up(2);
    const forged = recordMessage(1, {}, { epoch: 0xffffffff, sequence: 0xffffffff, signer: 2 });
    expect(drops(node.hear(2, forged))).toEqual(['signature']);
    expect(node.router.epoch).toBe(1);
  });

  it('asks for the newer one that a digest shows', () => {
    const node = new LoneRouter();
    node.up(2);
    const row = { origin: 1, epoch: 5, sequence: 1, certificate: 0 };
    const [request] = sent(node.hear(2, ...encodeDigest([row])));
    expect(request).toMatchObject({ type: 'request', peer: 2, rows: [{ origin: 1 }] });
  });

  it('tells a much worse round-trip time at once, a better one after half a minute, and a small change never', () => {
    const node = new LoneRouter();
    node.up(2);
    node.pass(10 * SECOND);
    expect(ownRecords(node.measured(2, 11_000))).toEqual([]);
    expect(ownRecords(node.measured(2, 20_000))[0].links[0].rtt).toBe(20_000);
    node.pass(10 * SECOND);
    expect(ownRecords(node.measured(2, 9_000))).toEqual([]);
    expect(ownRecords(node.pass(20 * SECOND))).toEqual([]);
    expect(ownRecords(node.measured(2, 9_500))).toEqual([]);
    expect(ownRecords(node.pass(11 * SECOND))[0].links[0].rtt).toBe(9_500);
  });

  it('tells a better round-trip time at once while the link settles after it came up', () => {
    const node = new LoneRouter();
    node.up(2);
    node.pass(SECOND);
    expect(ownRecords(node.measured(2, 1_000))[0].links[0].rtt).toBe(1_000);
  });

  it('forgets better news that did not last', () => {
    const node = new LoneRouter();
    node.up(2);
    node.pass(10 * SECOND);
    node.measured(2, 5_000);
    node.pass(20 * SECOND);
    node.measured(2, 10_000);
    expect(ownRecords(node.pass(60 * SECOND))).toEqual([]);
  });

  it('tells the loss of a link at once, and leaves the link out of its paths', () => {
    const node = chainOfThree();
    node.up(4);
    node.pass(10 * SECOND);
    const actions = node.down(2);
    const [record] = ownRecords(actions);
    expect(record.links.map(({ neighbour }) => neighbour)).toEqual([4]);
    expect(notices(actions).map(({ kind }) => kind)).toEqual(['node-left', 'node-left']);
    expect(node.tables!.nextHop(node.tables!.indexOf(3), 0)).toBe(0);
  });

  it('comes only so often however the links flap, and is right in the end', () => {
    const node = new LoneRouter();
    node.up(3);
    const actions: RouterAction[] = [];
    for (let i = 0; i < 200; i++) {
      actions.push(...(i % 2 === 0 ? node.up(2) : node.down(2)), ...node.pass(20_000));
    }
    actions.push(...node.pass(10 * SECOND));
    const records = ownRecords(actions);
    expect(records.length).toBeLessThanOrEqual(5 + 2 * 14);
    expect(records[records.length - 1].links.map(({ neighbour }) => neighbour)).toEqual([3]);
  });

  it('tells the loss of a link at once even where links flapped until the rate allowed no more', () => {
    const node = new LoneRouter();
    node.up(3);
    node.up(2);
    node.pass(10 * SECOND);
    for (let rtt = 20_000; rtt < 80_000_000; rtt *= 2) node.measured(2, rtt);
    expect(ownRecords(node.measured(2, 200_000_000))).toEqual([]);
    const [record] = ownRecords(node.down(2));
    expect(record.links.map(({ neighbour }) => neighbour)).toEqual([3]);
  });

  it('is renewed before it ages, also when nothing changes', () => {
    const node = new LoneRouter();
    node.up(2);
    node.pass(MINUTE);
    const sequences = ownRecords(node.pass(60 * MINUTE)).map(({ sequence }) => sequence);
    expect(sequences).toHaveLength(3);
  });

  it('says farewell without links, and nothing after that', () => {
    const node = chainOfThree();
    const [record] = ownRecords(node.router.stop(node.now));
    expect(record).toMatchObject({ links: [], lifetime: 60 });
    expect(node.router.nextTimeout()).toBe(Infinity);
    expect(node.hear(2, certificateMessage(4))).toEqual([]);
  });
});

describe("another's record", () => {
  it('that no longer lists the link with this node puts that link in doubt, once', () => {
    const node = new LoneRouter();
    node.up(2);
    const doubts = (actions: readonly RouterAction[]) => actions.filter(({ type }) => type === 'suspect');
    const hear = (links: Record<number, number>, sequence: number) =>
      doubts(node.hear(2, recordMessage(2, links, { sequence })));
    node.hear(2, certificateMessage(2));
    expect(hear({ 9: 1000 }, 1)).toEqual([]); // it doesn't know of the link yet
    expect(hear({ 1: 1000, 9: 1000 }, 2)).toEqual([]);
    expect(hear({ 9: 1000 }, 3)).toEqual([{ type: 'suspect', peer: 2 }]);
    expect(hear({ 8: 1000 }, 4)).toEqual([]);
    hear({ 1: 1000 }, 5);
    node.down(2);
    expect(hear({}, 6)).toEqual([]);
  });

  it('is kept while its origin cannot be reached, and forgotten when it is too old', () => {
    const node = chainOfThree();
    node.hear(2, recordMessage(2, { 1: 10_000 }, { sequence: 2 }));
    node.pass(50 * MINUTE);
    expect(node.tables!.nextHop(node.tables!.indexOf(3), 0)).toBe(0);
    expect(node.router.db.records.has(3)).toBe(true);
    node.pass(11 * MINUTE);
    expect(node.router.db.records.has(3)).toBe(false);
    expect(node.tables!.owner4(address(3))).toBe(NOBODY);
  });

  it('comes through only so often, and the newest comes through in the end', () => {
    const node = chainOfThree();
    node.up(4);
    const storm = Array.from({ length: 100 }, (_, i) => recordMessage(3, { 2: 20_000 }, { sequence: i + 2 }));
    const flooded = (actions: readonly RouterAction[]) =>
      sent(actions).filter(({ type, peer }) => type === 'record' && peer === 4);
    expect(flooded(node.hear(2, ...storm)).length).toBeLessThanOrEqual(20);
    expect(node.router.counters.deferred).toBeGreaterThan(70);
    node.pass(SECOND);
    expect(node.router.db.records.get(3)!.record.sequence).toBe(101);
  });

  it('that says nothing new is flooded on without a shortest-path run', () => {
    const node = chainOfThree();
    const { pathRuns } = node.router.counters;
    node.hear(2, recordMessage(3, { 2: 20_000 }, { sequence: 2 }));
    node.pass(SECOND);
    expect(node.router.db.records.get(3)!.record.sequence).toBe(2);
    expect(node.router.counters.pathRuns).toBe(pathRuns);
  });
});
