// HTML text in which everything that is not markup already is escaped.

/** Text that is HTML already: only `html` makes it, from templates of our own. */
class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export type { Markup };
export type Content = Markup | string | number | undefined | readonly Content[];

/** Fills a template: values are escaped, other markup is taken as it is, lists are joined. Attributes have to stand in double quotes. */
export function html(strings: TemplateStringsArray, ...values: readonly Content[]): Markup {
  return new Markup(strings.map((string, index) => string + formatContent(values[index])).join(""));
}

/** For text of our own that is not HTML but stands in it: a style sheet, a script. */
export function verbatim(text: string): Markup {
  return new Markup(text);
}

function formatContent(content: Content): string {
  if (content === undefined) return "";
  if (typeof content === "string") return escapeHtml(content);
  if (typeof content === "number") return String(content);
  if (content instanceof Markup) return content.text;
  return content.map(formatContent).join("");
}

const ESCAPES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ESCAPES[character] ?? "");
}
