import type { NodeGroups } from '../intercept/rules.js';

interface GroupedNode {
  readonly certificate: { readonly nodeId: number; readonly groups?: readonly string[] };
}

/** Node ids of those whose certificate has one of the groups, by group. */
export function groupMembers(groups: readonly string[], nodes: readonly GroupedNode[]): NodeGroups {
  const inGroup = (group: string) =>
    nodes
      .filter(({ certificate }) => certificate.groups?.includes(group))
      .map(({ certificate }) => certificate.nodeId);
  return Object.fromEntries(groups.map((group) => [group, inGroup(group)]));
}
