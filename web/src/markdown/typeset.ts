/** TeX to MathML. This module is loaded when a text first contains a formula. */
import temml from 'temml';

/** Limits macros that double themselves. */
const MAX_EXPANSIONS = 300;
/** The largest rule or space that a formula may ask for, in em. */
const MAX_SIZE_EM = 40;
/** The layout of a larger result would block the page. */
const OUTPUT_LIMIT = 200_000;

/** The cells of all tables in a formula. Rows are padded, so a short text can demand millions. */
const MAX_CELLS = 2_000;

/**
 * Unsanitised MathML; undefined if the source is invalid or too large.
 *
 * @param source - TeX without delimiters.
 * @param display - Whether the formula has a line of its own.
 */
export function mathml(source: string, display: boolean): string | undefined {
  if (cells(source) > MAX_CELLS) return undefined;
  try {
    const result = temml.renderToString(source, {
      displayMode: display,
      throwOnError: true,
      trust: false,
      maxExpand: MAX_EXPANSIONS,
      maxSize: [MAX_SIZE_EM, MAX_SIZE_EM],
      // A new object each time, so that \gdef in one formula does not change others.
      macros: {},
    });
    return result.length > OUTPUT_LIMIT ? undefined : withoutStyles(result);
  } catch {
    return undefined;
  }
}

/** The page's policy forbids inline styles. Colours become attributes; the rest is only spacing. */
function withoutStyles(html: string): string {
  return html.replace(/ style="([^"]*)"/g, (_, style: string) => {
    const colour = /(?:^|;)\s*color:\s*(#[0-9a-f]{3,8}|[a-z]{3,20})/i.exec(style)?.[1];
    return colour ? ` mathcolor="${colour}"` : '';
  });
}

function cells(source: string): number {
  const rows = source.split(/\\\\|\\cr/);
  return rows.length * Math.max(...rows.map((row) => row.split('&').length));
}
