import { beforeEach, describe, expect, it } from 'vitest';
import { HelloMachine, type HelloEvent } from '../../../src/overlay/link/hello.js';
import type { Hello } from '../../../src/overlay/wire/frames.js';

const MS = 1000;
const S = 1000 * MS;
/** A quarter second past a whole one, so that ticks and intervals can be told apart. */
const START = 2_000 * S + 250 * MS;
const RTT = 10 * MS;

let machine: HelloMachine;
let peerNumber: number;

/** A hello of the peer's that echoes ours of `echoed`, held `age` µs at the peer. */
function hello(now: number, echoed: number, age = 0, more: Partial<Hello> = {}): Hello {
  return {
    type: 'hello',
    number: ++peerNumber,
    clock: (now + 77) >>> 0,
    echoClock: echoed >>> 0,
    echoAge: age,
    answer: false,
    busy: false,
    ...more,
  };
}

/** Sends every hello when due and answers none, until `until`; what was sent when, and what was reported. */
function drive(until: number): {
  sent: { at: number; hello: Hello }[];
  events: { at: number; event: HelloEvent }[];
} {
  const sent: { at: number; hello: Hello }[] = [];
  const events: { at: number; event: HelloEvent }[] = [];
  for (let now = machine.nextTimeout(); now <= until; now = machine.nextTimeout()) {
    for (const event of machine.timeout(now)) {
      events.push({ at: now, event });
      if (event.type !== 'drain') continue;
      events.push(...machine.drained(now).map((judged) => ({ at: now, event: judged })));
    }
    if (machine.wanted) sent.push({ at: now, hello: machine.take(now) });
  }
  return { sent, events };
}

function bringUp(): number {
  machine.take(START);
  machine.receive(START + RTT, hello(START + RTT, START));
  expect(machine.isUp).toBe(true);
  return START + RTT;
}

beforeEach(() => {
  machine = new HelloMachine(START);
  peerNumber = 0;
});

describe('a hello machine that is down', () => {
  it('says hello at once, each 100 ms for a second, then on whole seconds, asking for an answer', () => {
    expect(machine.wanted).toBe(true);
    expect(machine.take(START)).toMatchObject({ number: 1, answer: true, echoClock: 0, echoAge: 0 });
    const { sent } = drive(START + 4 * S);
    expect(sent.map(({ at }) => (at - START) / MS)).toEqual([
      ...[100, 200, 300, 400, 500, 600, 700, 800, 900, 1000],
      ...[1750, 2750, 3750],
    ]);
    expect(sent.every((entry) => entry.hello.answer)).toBe(true);
  });

  it('comes up when a hello of its own comes back, with the round trip less the peer’s wait', () => {
    machine.take(START);
    const now = START + 40 * MS;
    expect(machine.receive(now, hello(now, START, 30 * MS))).toEqual([
      { type: 'measured', rtt: RTT, base: RTT, latest: RTT },
      { type: 'up', rtt: RTT },
    ]);
    expect(machine.state).toEqual({ name: 'up', since: now });
  });

  it('does not come up by a hello that echoes none, though it answers it', () => {
    machine.take(START);
    expect(machine.receive(START + 6 * MS, hello(START, 0, 0, { answer: true }))).toEqual([]);
    expect(machine.isUp).toBe(false);
    expect(machine.wanted).toBe(true);
    expect(machine.take(START + 8 * MS)).toMatchObject({ echoClock: (START + 77) >>> 0, echoAge: 2 * MS });
  });

  it('does not come up by an echo of a hello from before it went down', () => {
    const up = bringUp();
    const { events } = drive(up + 5 * S);
    expect(events.at(-1)?.event).toEqual({ type: 'down', reason: 'silence' });
    const before = events[0].at - 1 * S;
    const now = up + 5 * S;
    expect(machine.receive(now, hello(now, before, now - before - RTT)).map((event) => event.type)).toEqual([
      'measured',
    ]);
    expect(machine.isUp).toBe(false);
  });

  it('takes no echo from the future or from minutes ago for its own', () => {
    machine.take(START);
    const now = START + 10 * MS;
    expect(machine.receive(now, hello(now, now + 5))).toEqual([]);
    expect(machine.receive(now, hello(now, START, 20 * MS))).toEqual([]);
    expect(machine.receive(now, hello(now, START - 100 * S))).toEqual([]);
    expect(machine.isUp).toBe(false);
  });

  it('writes 1 for a clock whose low 32 bits are 0', () => {
    machine = new HelloMachine(2 ** 32 * 5);
    expect(machine.take(2 ** 32 * 5).clock).toBe(1);
  });

  it('measures across the wrap of the 32-bit clock', () => {
    const start = 2 ** 32 * 3 - 5 * MS;
    machine = new HelloMachine(start);
    machine.take(start);
    expect(machine.receive(start + 9 * MS, hello(0, start))).toContainEqual({ type: 'up', rtt: 9 * MS });
  });
});

describe('an idle link', () => {
  it('says hello on whole seconds only, together with every other link', () => {
    const up = bringUp();
    for (let second = 1; second <= 5; second++) {
      const tick = 2_000 * S + second * S;
      const { sent } = drive(tick);
      expect(sent.map(({ at }) => at)).toEqual([tick]);
      expect(sent[0].hello).toMatchObject({ answer: false, busy: false });
      machine.noteReceived(tick + 5 * MS);
    }
    expect(machine.nextTimeout() - up).toBeGreaterThan(0);
  });

  it('probes after 2.25 s of silence and asks to drain after 3.5 s, before it judges', () => {
    const up = bringUp();
    const { sent, events } = drive(up + 3.6 * S);
    const probes = sent.filter((entry) => entry.hello.answer).map(({ at }) => (at - up) / MS);
    // The tick at 2740 is one of them, and the next follows 250 ms after it.
    expect(probes.slice(0, 6)).toEqual([2250, 2500, 2740, 2990, 3240, 3490]);
    expect(events).toEqual([
      { at: up + 3.5 * S, event: { type: 'drain' } },
      { at: up + 3.5 * S, event: { type: 'down', reason: 'silence' } },
    ]);
  });

  it('says hello each 100 ms while its peer says that it is busy', () => {
    const up = bringUp();
    machine.receive(up + 5 * MS, hello(up, START, 0, { busy: true }));
    machine.take(up + 5 * MS);
    expect(drive(up + 350 * MS).sent.map(({ at }) => (at - up) / MS)).toEqual([105, 205, 305]);
  });
});

describe('a busy link', () => {
  it('says hello at once when it becomes busy, asking for an answer, then each 100 ms', () => {
    const up = bringUp() + 100 * MS;
    expect(machine.noteData(up)).toBe(true);
    expect(machine.noteData(up + 1)).toBe(false);
    expect(machine.wanted).toBe(true);
    expect(machine.take(up)).toMatchObject({ answer: true, busy: true });
    machine.noteReceived(up + 50 * MS);
    expect(drive(up + 240 * MS).sent.map(({ at, hello: { answer } }) => [(at - up) / MS, answer])).toEqual([
      [100, false],
      [200, false],
    ]);
  });

  it('probes each 40 ms after 200 ms of silence, and asks to drain at 500 ms', () => {
    const up = bringUp();
    machine.noteData(up);
    machine.take(up);
    const { sent, events } = drive(up + 500 * MS);
    const before = sent.filter(({ at }) => at < up + 500 * MS);
    const probes = before.filter((entry) => entry.hello.answer).map(({ at }) => (at - up) / MS);
    expect(probes).toEqual([200, 240, 280, 320, 360, 400, 440, 480]);
    expect(events[0]).toEqual({ at: up + 500 * MS, event: { type: 'drain' } });
  });

  it('is idle again ten seconds after its last data', () => {
    let now = bringUp();
    machine.noteData(now);
    const end = now + 10 * S;
    for (; now < end + 3 * S; now += 50 * MS) {
      machine.noteReceived(now);
      const { sent } = drive(now);
      if (now > end + 100 * MS) expect(sent.every(({ at }) => at % S === 0)).toBe(true);
    }
  });

  it('lives on any authentic record', () => {
    let now = bringUp();
    machine.noteData(now);
    for (let i = 0; i < 100; i++) {
      now += 190 * MS;
      expect(drive(now).events).toEqual([]);
      machine.noteReceived(now);
    }
    expect(machine.isUp).toBe(true);
  });
});

describe('silence', () => {
  it('is not judged before the sockets have been drained, and not if something lay in them', () => {
    const up = bringUp();
    machine.noteData(up);
    machine.take(up);
    let now = up;
    for (; machine.state.name !== 'draining'; now = machine.nextTimeout()) {
      machine.timeout(now);
      if (machine.wanted) machine.take(now);
    }
    expect(machine.isUp).toBe(true);
    expect(machine.timeout(now + 10 * S)).toEqual([]);
    machine.noteReceived(now + 10 * S);
    expect(machine.drained(now + 10 * S)).toEqual([]);
    expect(machine.state.name).toBe('up');
  });

  it('gets one grace of 300 ms, with probes, when a timeout comes late, and no second one', () => {
    const up = bringUp();
    machine.noteData(up);
    machine.take(up);
    const woke = up + 900 * MS;
    expect(machine.timeout(woke)).toEqual([]);
    expect(machine.wanted).toBe(true);
    expect(machine.take(woke).answer).toBe(true);
    const late = woke + 600 * MS;
    expect(machine.timeout(late)).toEqual([{ type: 'drain' }]);
    expect(machine.drained(late)).toEqual([{ type: 'down', reason: 'silence' }]);
  });

  it('does nothing early', () => {
    bringUp();
    const due = machine.nextTimeout();
    expect(machine.timeout(due - 1)).toEqual([]);
    expect(machine.wanted).toBe(false);
  });
});

describe('a peer', () => {
  it('that echoes nothing any more takes the link down at once', () => {
    const up = bringUp();
    expect(machine.receive(up + 5 * MS, hello(up, 0))).toEqual([{ type: 'down', reason: 'unheard' }]);
    expect(machine.take(up + 6 * MS)).toMatchObject({ answer: true, echoClock: (up + 77) >>> 0 });
  });

  it('whose old hello was overtaken changes nothing', () => {
    machine.take(START);
    const old = hello(START, 0);
    machine.receive(START + RTT, hello(START, START));
    expect(machine.receive(START + RTT + 1, old)).toEqual([]);
    expect(machine.isUp).toBe(true);
  });

  it('that counts from the beginning again takes the link down', () => {
    peerNumber = 40;
    const up = bringUp();
    peerNumber = 0;
    expect(machine.receive(up + 5 * MS, hello(up, 0))).toEqual([{ type: 'down', reason: 'unheard' }]);
  });

  it('that asks again and again gets an answer each 5 ms at most', () => {
    const up = bringUp();
    let answers = 0;
    for (let now = up + 10 * MS; now < up + 60 * MS; now += 100) {
      machine.receive(now, hello(now, START, 0, { answer: true }));
      machine.timeout(now);
      if (!machine.wanted) continue;
      machine.take(now);
      answers++;
    }
    expect(answers).toBeGreaterThanOrEqual(9);
    expect(answers).toBeLessThanOrEqual(11);
  });
});

describe('an ICMP error', () => {
  it('has three probes sent at once, and ends the link when none was answered in its time', () => {
    const up = bringUp();
    machine.suspect(up + 1, false);
    expect(machine.take(up + 1).answer).toBe(true);
    const { sent, events } = drive(up + 105 * MS);
    expect(sent.slice(0, 2).map(({ at, hello: { answer } }) => [at - up - 1, answer])).toEqual([
      [20 * MS, true],
      [40 * MS, true],
    ]);
    expect(events).toEqual([
      { at: up + 1 + 80 * MS, event: { type: 'drain' } },
      { at: up + 1 + 80 * MS, event: { type: 'down', reason: 'silence' } },
    ]);
  });

  it('changes nothing where a record of the peer came since', () => {
    const up = bringUp();
    machine.suspect(up + 1, false);
    machine.take(up + 1);
    machine.noteReceived(up + 30 * MS);
    const { sent, events } = drive(up + 400 * MS);
    expect(events).toEqual([]);
    expect(sent.filter(({ hello: { answer } }) => answer)).toEqual([]);
  });

  it('is not heard again within 200 ms of being refuted', () => {
    const up = bringUp();
    let probes = 0;
    for (let now = up + 1; now < up + 1 * S; now += 1 * MS) {
      machine.noteReceived(now);
      machine.suspect(now, false);
      if (machine.wanted) probes += machine.take(now).answer ? 1 : 0;
      machine.timeout(now);
    }
    expect(probes).toBeLessThanOrEqual(10);
  });

  it('waits for eight probes where hellos were lost of late', () => {
    const up = bringUp();
    const now = up + 1 * S;
    peerNumber++;
    machine.receive(now, hello(now, START + 900 * MS, 90 * MS));
    machine.suspect(now, false);
    machine.take(now);
    const { events } = drive(now + 300 * MS);
    expect(events[0]?.at).toBeGreaterThanOrEqual(now + 250 * MS);
    expect(events.at(-1)?.event).toEqual({ type: 'down', reason: 'silence' });
  });

  it('is not heard for a minute after a link it ended came back at once', () => {
    const up = bringUp();
    machine.suspect(up + 1, false);
    machine.take(up + 1);
    drive(up + 100 * MS);
    expect(machine.isUp).toBe(false);
    const back = up + 130 * MS;
    machine.receive(back, hello(back, up + 110 * MS, 10 * MS));
    expect(machine.isUp).toBe(true);
    machine.suspect(back + 1 * MS, false);
    expect(drive(back + 1 * S).events).toEqual([]);
    machine.noteReceived(back + 61 * S);
    machine.suspect(back + 61 * S, false);
    machine.take(back + 61 * S);
    expect(drive(back + 61.2 * S).events).toContainEqual({
      at: expect.any(Number) as number,
      event: { type: 'down', reason: 'silence' },
    });
  });
});

describe('overdue acknowledgements', () => {
  it('end a link after 250 ms of silence, probed meanwhile', () => {
    const up = bringUp();
    machine.noteData(up);
    machine.take(up);
    machine.noteUnanswered(up + 60 * MS);
    machine.take(up + 60 * MS);
    const { sent, events } = drive(up + 400 * MS);
    expect(sent.filter(({ at, hello: { answer } }) => answer && at < up + 250 * MS).length).toBeGreaterThan(
      8,
    );
    expect(events.at(-1)).toEqual({ at: up + 250 * MS, event: { type: 'down', reason: 'silence' } });
  });

  it('change nothing while records of the peer come', () => {
    const up = bringUp();
    machine.noteData(up);
    for (let now = up; now < up + 2 * S; now += 10 * MS) {
      machine.noteUnanswered(now);
      machine.noteReceived(now);
      expect(drive(now).events).toEqual([]);
    }
    expect(machine.isUp).toBe(true);
  });

  it('never end it before its probes had their time, however late they went', () => {
    const up = bringUp();
    machine.noteData(up);
    machine.take(up);
    // Starved from here on: the first probe goes out late.
    machine.noteUnanswered(up + 240 * MS);
    machine.take(up + 240 * MS);
    const { events } = drive(up + 310 * MS);
    expect(events).toEqual([]);
  });
});

describe('this host without a way to the peer', () => {
  it('ends the link at once; it comes back by itself', () => {
    const up = bringUp();
    expect(machine.fail(up + 1)).toEqual([{ type: 'down', reason: 'unreachable' }]);
    expect(machine.fail(up + 2)).toEqual([]);
    expect(machine.wanted).toBe(true);
    machine.take(up + 3);
    const back = up + 3 + RTT;
    expect(machine.receive(back, hello(back, up + 3))).toContainEqual({ type: 'up', rtt: RTT });
  });

  it('says hello at once when told that the host has changed', () => {
    const up = bringUp();
    machine.fail(up + 1);
    drive(up + 10 * S);
    machine.retry();
    expect(machine.wanted).toBe(true);
  });
});

describe('a closed link', () => {
  it('says and hears nothing any more', () => {
    const up = bringUp();
    expect(machine.close()).toEqual([{ type: 'down', reason: 'closed' }]);
    expect(machine.close()).toEqual([]);
    expect(machine.receive(up + 1, hello(up, START, 0, { answer: true }))).toEqual([]);
    expect([machine.wanted, machine.nextTimeout(), machine.isUp]).toEqual([false, Infinity, false]);
  });
});
