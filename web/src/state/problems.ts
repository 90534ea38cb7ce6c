/** What to say of an error, in the reader's language as far as the page knows it. */

import type { Problem } from '../api/client';
import { t } from '../language';

/** The part of a problem (RFC 9457) that a turn keeps of it. */
export type ProblemDetails = Pick<Problem, 'type' | 'title' | 'detail'>;

/** What names the kind of an error: the last part of its `type`. */
export function code(problem: ProblemDetails): string {
  return problem.type.slice(problem.type.lastIndexOf('/') + 1);
}

export function titleOf(problem: ProblemDetails): string {
  return t.problems.titles[code(problem)] ?? problem.title;
}
