/** Keys of an agent's configuration, as a mesh file and the mesh itself give them. */
export type AgentKeys = Readonly<Record<string, unknown>>;

/** Maps are merged key by key, everything else is replaced. */
export function mergeKeys(below: AgentKeys, above: AgentKeys): AgentKeys {
  const merged: Record<string, unknown> = { ...below };
  for (const [key, value] of Object.entries(above)) {
    const under = merged[key];
    merged[key] = isKeys(under) && isKeys(value) ? mergeKeys(under, value) : value;
  }
  return merged;
}

const isKeys = (value: unknown): value is AgentKeys =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
