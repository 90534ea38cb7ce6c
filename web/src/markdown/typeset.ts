/** TeX to MathML. Loaded when a text first holds a formula. */
import temml from 'temml';

/** Macros that double themselves end here. */
const EXPANSIONS = 300;
/** The largest rule or space that a formula may ask for, in em. */
const LARGEST_EM = 40;
/** Larger results would stop the page while they are laid out. */
const OUTPUT_LIMIT = 200_000;

/** Cells of all tables in a formula: each row is filled up to the longest, so few letters can ask for millions. */
const CELLS = 2_000;

/** Promises MathML, not yet sanitised, or nothing if `source` is not TeX that we render. */
export function mathml(source: string, display: boolean): string | undefined {
  if (cells(source) > CELLS) return undefined;
  try {
    const result = temml.renderToString(source, {
      displayMode: display,
      throwOnError: true,
      trust: false,
      maxExpand: EXPANSIONS,
      maxSize: [LARGEST_EM, LARGEST_EM],
      // Fresh each time: \gdef in one formula changes no other.
      macros: {},
    });
    return result.length > OUTPUT_LIMIT ? undefined : withoutStyles(result);
  } catch {
    return undefined;
  }
}

/** The page's policy refuses styles written in line. A colour has an attribute; the rest is spacing. */
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
