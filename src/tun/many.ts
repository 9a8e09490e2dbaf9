/** Keeps in force what rules say of packets to many hosts (`many-plan.ts`). */
import { cgroupsOf, type NodeGroups, type Rule } from '../intercept/rules.js';
import { cgroupInode, watchCgroups } from './cgroups.js';
import type { HostInterception } from './host.js';
import { planMany } from './many-plan.js';

export interface ManyQuestion {
  readonly rules: readonly Rule[];
  /** This node's id. */
  readonly self: number;
  readonly groups: NodeGroups;
}

export class HostMany {
  private applied = '';
  private unwatch: () => void = () => undefined;

  constructor(
    private readonly host: Pick<HostInterception, 'setMany'>,
    /** Hears why it can't be done; what was in force stays. */
    private readonly onError: (error: unknown) => void,
  ) {}

  set(question: ManyQuestion): void {
    this.close();
    const cgroups = cgroupsOf(question.rules);
    this.apply(question, cgroups);
    this.unwatch = watchCgroups(cgroups, () => this.apply(question, cgroups));
  }

  close(): void {
    this.unwatch();
  }

  private apply({ rules, self, groups }: ManyQuestion, cgroups: readonly string[]): void {
    const inodes = new Map(cgroups.map((path) => [path, cgroupInode(path)]));
    const lines = planMany(rules, { self, groups, hasCgroup: (path) => inodes.get(path) !== 0 });
    const key = JSON.stringify([lines, ...inodes.values()]);
    if (key === this.applied) return;
    this.applied = key;
    this.host.setMany(lines).catch(this.onError);
  }
}
