import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MeshError } from '../../../scripts/netns/errors.js';
import { parseMeshFile, readMeshFile } from '../../../scripts/netns/file.js';
import { mergeKeys } from '../../../scripts/netns/keys.js';

const refusal = (text: string): string => {
  try {
    parseMeshFile(text, 'mesh.yaml');
  } catch (error) {
    expect(error).toBeInstanceOf(MeshError);
    expect((error as MeshError).exitCode).toBe(2);
    return (error as MeshError).message;
  }
  throw new Error('was accepted');
};

describe('a mesh file', () => {
  it('becomes nodes and links, with defaults where nothing is said', () => {
    const file = parseMeshFile(
      `name: chain
nodes: {a: {}, b: , c: {peers: [b]}}
links:
  - {between: [a, b], delay: 10ms, loss: 0%, rate: 10mbit, mtu: 1400}
  - {between: [b, c], loss: 1%, burst: 3, queue: 20ms}
agent: {}`,
      'x.yaml',
    );
    expect(file.name).toBe('chain');
    expect(file.nodes).toEqual([
      { name: 'a', agent: {} },
      { name: 'b', agent: {} },
      { name: 'c', agent: {}, peers: ['b'] },
    ]);
    expect(file.links[0]).toEqual({
      between: ['a', 'b'],
      mtu: 1400,
      shape: { delayMs: 10, loss: 0, burst: null, rateBps: 10e6, queueMs: 50 },
    });
    expect(file.links[1]).toMatchObject({
      mtu: 1500,
      shape: { loss: 0.01, burst: 3, rateBps: null, queueMs: 20 },
    });
  });

  it('that has no name takes its file’s', () => {
    expect(parseMeshFile('nodes: {a: {}}', '/somewhere/two-homes.yaml').name).toBe('two-homes');
  });

  it('merges its agent keys into every node’s, and `agent: false` wins', () => {
    const { nodes } = parseMeshFile(
      `nodes: {a: {agent: {log: {level: debug}}}, b: {agent: false}, c: {}}
agent: {log: {level: warn, pretty: true}}`,
      'x.yaml',
    );
    expect(nodes.map((node) => node.agent)).toEqual([
      { log: { level: 'debug', pretty: true } },
      false,
      { log: { level: 'warn', pretty: true } },
    ]);
    expect(parseMeshFile('{nodes: {a: {}}, agent: false}', 'x').nodes[0]!.agent).toBe(false);
  });

  it('replaces lists and scalars when it merges, and maps key by key', () => {
    expect(mergeKeys({ a: [1], b: { c: 1, d: 2 } }, { a: [2], b: { c: 3 } })).toEqual({
      a: [2],
      b: { c: 3, d: 2 },
    });
  });

  it.each([
    ['nodes: {a: {}}\nlinx: []', 'mesh.yaml:2: unknown key "linx"'],
    ['nodes:\n  a: {}\n  b:\n    peer: [a]', 'mesh.yaml:4: unknown key "peer" in nodes.b'],
    [
      'nodes: {a: {}, b: {}}\nlinks:\n  - {between: [a, b],\n     dely: 1ms}',
      'mesh.yaml:4: unknown key "dely" in links[0]',
    ],
    [
      'nodes: {a: {}}\nlinks:\n  - between: [a, x]',
      'mesh.yaml:3: links[0].between[1]: there is no node "x"; nodes are a',
    ],
    [
      'nodes: {a: {}, b: {}}\nlinks:\n  - between: [a, b]\n    delay: 10',
      'mesh.yaml:4: links[0].delay: "10" is no duration',
    ],
    [
      'nodes: {a: {}, b: {}}\nlinks:\n  - between: [a, b]\n    mtu: 576',
      'mesh.yaml:4: links[0].mtu: must be 1280 or more',
    ],
    ['nodes: {a: {}, b: {}}\nlinks:\n  - between: [a]', 'mesh.yaml:3: links[0].between'],
    [
      'nodes: {a: {}, b: {}}\nlinks:\n- between: [a, b]\n- between: [b, a]',
      'mesh.yaml:4: links[1]: there is already a link',
    ],
    ['nodes: {a: {}}\nlinks:\n- between: [a, a]', 'mesh.yaml:3: links[0]: a link needs two nodes'],
    ['nodes:\n  a:\n    peers: [z]', 'mesh.yaml:3: nodes.a.peers[0]: there is no node "z"'],
    ['nodes:\n  a:\n    peers: [a]', "mesh.yaml:3: node a can't be its own peer"],
    ['nodes:\n  a b: {}', 'mesh.yaml:2: nodes.a b is no node name'],
    ['nodes: {}', 'mesh.yaml:1: nodes: a mesh needs at least one'],
    ['name: "x/y"\nnodes: {a: {}}', 'mesh.yaml:1: name: is no mesh name'],
    ['nodes: {a: {}}\nagent: 3', 'mesh.yaml:2: agent: must be false or keys'],
    ['nodes: {a: {}', 'mesh.yaml:1:'],
    ['', 'mesh.yaml:1: must be a map'],
    [
      'nodes: {a: {}, b: {}}\nlinks:\n- between: [a, b]\n  loss: 90%\n  burst: 2',
      "mesh.yaml:4: links[0]: a loss of 90% can't come in runs of 2: at most 66%",
    ],
  ])('is refused in one line that names the place (%#)', (text, message) => {
    const said = refusal(text);
    expect(said).toContain(message);
    expect(said).not.toContain('\n');
  });

  it('that is one of the examples is sound', () => {
    const examples = join(import.meta.dirname, '../../../scripts/netns/examples');
    const names = readdirSync(examples);
    expect(names.length).toBeGreaterThanOrEqual(5);
    for (const name of names) expect(`${readMeshFile(join(examples, name)).name}.yaml`).toBe(name);
  });

  it('that isn’t there is wrong usage', () => {
    expect(() => readMeshFile('/nowhere/mesh.yaml')).toThrowError(/can't be read/);
  });
});
