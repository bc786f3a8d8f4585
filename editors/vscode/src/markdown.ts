/** Answers of the server as documents that people read. */

/** What `lsp-stablecode.explain` answers, as far as it is shown. */
export interface Explanation {
  readonly uri: string;
  readonly outcome: string;
  readonly suggestions: readonly Suggestion[];
  readonly withheld: readonly Suggestion[];
  readonly threshold: number;
  readonly candidates: readonly Candidate[];
  readonly shape: { readonly kind: string; readonly reason: string } | null;
  readonly removed: readonly string[];
  readonly fimOrder: string;
  readonly prompt: readonly PromptPart[];
  readonly healed: string;
  readonly statistics: {
    readonly prompt_tokens: number;
    readonly reused_tokens: number;
    readonly generated_tokens: number;
    readonly forwards: number;
    readonly prefill_ms: number;
    readonly decode_ms: number;
    readonly drafted_tokens: number;
    readonly accepted_tokens: number;
  };
  readonly gatherMs: number;
  readonly totalMs: number;
}

interface Suggestion {
  readonly text: string;
  readonly confidence: number | null;
  readonly removed: readonly string[];
}

interface Candidate {
  readonly text: string;
  readonly finishReason: string;
  readonly tokens: number;
  readonly meanLogprob: number;
  readonly probabilities: readonly {
    readonly text: string;
    readonly probability: number;
  }[];
}

interface PromptPart {
  readonly kind: string;
  readonly num_tokens: number;
  readonly num_reused: number;
  readonly path?: string;
  readonly source?: string;
}

/** One finding of `doctor --json`. */
export interface Finding {
  readonly subject: string;
  readonly text: string;
  readonly advice: string;
  readonly fatal: boolean;
}

/** Outcomes that a user may wonder about; the others speak for themselves. */
const OUTCOMES: Readonly<Record<string, string>> = {
  shown: "The model was asked, and its suggestion was shown.",
  "shown:token-limit":
    "The model was asked; its block was cut to whole lines where the token limit struck.",
  "type-through": "You typed into a suggestion that was known already.",
  "empty:unsure": "The model was not sure enough; ask by hand to see it nevertheless.",
  "empty:disabled": "Suggestions are switched off.",
  "empty:snoozed": "Suggestions are snoozed.",
  "empty:language-disabled": "Suggestions are switched off for this language.",
  "empty:ignored": "Git ignores this file, so nothing of it enters a prompt.",
  "empty:secret":
    "Files with such a name may hold secrets, so nothing of it enters a prompt.",
  "empty:excluded": "The setting `exclude` keeps this file out of prompts.",
  "empty:unreadable":
    "This file cannot be looked at, so nothing of it enters a prompt.",
  "empty:slow-files":
    "The file system does not answer, so nothing is known of this file.",
  "empty:already-there": "What would follow stands there already.",
  "empty:error": "The model could not answer; the log says why.",
};

/** Return a document about the last request, where there was one. */
export function explanation(told: Explanation | null): string {
  if (told === null) {
    return "# Last suggestion\n\nNothing has been asked for yet: type something first.\n";
  }
  const { statistics } = told;
  const parts = [
    "# Last suggestion",
    `\`${told.uri}\``,
    `**${told.outcome}**${OUTCOMES[told.outcome] ? `: ${OUTCOMES[told.outcome]}` : ""}`,
    ...told.suggestions.map((one, index) => suggestion("Suggestion", one, index)),
    ...told.withheld.map((one, index) => suggestion("Withheld", one, index)),
    "## Why so",
    list([
      told.shape && `Shape: ${told.shape.kind}, because ${told.shape.reason}`,
      told.threshold > 0 && `Shown from a confidence of ${percent(told.threshold)}`,
      told.removed.length > 0 && `Removed: ${told.removed.join(", ")}`,
      told.healed && `Half-typed text that was generated again: ${code(told.healed)}`,
    ]),
    "## Prompt",
    told.prompt.length > 0
      ? table(
          ["part", "tokens", "reused", "from"],
          told.prompt.map((part) => [
            part.kind,
            String(part.num_tokens),
            String(part.num_reused),
            [part.path, part.source && `(${part.source})`].filter(Boolean).join(" "),
          ]),
        )
      : "",
    list([
      `${statistics.prompt_tokens} tokens, of which ${statistics.reused_tokens} were known`,
      told.fimOrder && `Order: ${told.fimOrder}`,
    ]),
    ...told.candidates.flatMap(candidate),
    "## Time",
    list([
      `Gathering context: ${milliseconds(told.gatherMs)}`,
      `Reading the prompt: ${milliseconds(statistics.prefill_ms)}`,
      `Writing ${statistics.generated_tokens} tokens in ${statistics.forwards} passes: ` +
        milliseconds(statistics.decode_ms),
      statistics.drafted_tokens > 0 &&
        `Guessed ahead: ${statistics.accepted_tokens} of ${statistics.drafted_tokens} right`,
      `Together: ${milliseconds(told.totalMs)}`,
    ]),
  ];
  return `${parts.filter(Boolean).join("\n\n")}\n`;
}

/** Return a document with what doctor found. */
export function findings(found: readonly Finding[]): string {
  const lines = found.map((one) => {
    const mark = one.fatal ? "✗" : one.advice ? "!" : "✓";
    const text = one.text.trim().replaceAll("\n", "  \n  ");
    const advice = one.advice ? `  \n  → ${one.advice}` : "";
    return `- ${mark} **${one.subject}**: ${text}${advice}`;
  });
  return `# Doctor\n\n${lines.join("\n")}\n`;
}

function suggestion(title: string, one: Suggestion, index: number): string {
  const facts = [
    one.confidence !== null && `confidence ${percent(one.confidence)}`,
    one.removed.length > 0 && `removed: ${one.removed.join(", ")}`,
  ].filter(Boolean);
  const about = facts.length > 0 ? `\n\n${facts.join("; ")}` : "";
  return `## ${title} ${index + 1}\n\n${fenced(one.text)}${about}`;
}

function candidate(one: Candidate, index: number): string[] {
  const sure = percent(Math.exp(one.meanLogprob));
  const told =
    `${one.tokens} tokens, ended by ${one.finishReason}, ` +
    `with a probability of ${sure} on average`;
  const tokens = one.probabilities
    .filter((token) => token.text)
    .map((token) => [code(token.text), percent(token.probability)]);
  return [
    `## Candidate ${index + 1}`,
    told,
    tokens.length > 0 ? table(["token", "probability"], tokens) : "",
  ];
}

function list(items: readonly (string | false | null)[]): string {
  return items
    .filter(Boolean)
    .map((item) => `- ${item}`)
    .join("\n");
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/** Text in a code block, whose fence is longer than any in the text. */
function fenced(text: string): string {
  const fence = "`".repeat(Math.max(3, longestRun(text) + 1));
  return `${fence}\n${text}\n${fence}`;
}

/** Text in one line of code; line ends and tabs are spelled. */
function code(text: string): string {
  const spelled = text
    .replaceAll("\r", "\\r")
    .replaceAll("\n", "\\n")
    .replaceAll("\t", "\\t");
  const ticks = "`".repeat(longestRun(spelled) + 1);
  const space = /^[` ]|[` ]$/.test(spelled) ? " " : "";
  return `${ticks}${space}${spelled}${space}${ticks}`;
}

function longestRun(text: string): number {
  return Math.max(0, ...Array.from(text.matchAll(/`+/g), ([run]) => run.length));
}

function percent(probability: number): string {
  return `${Math.round(100 * probability)} %`;
}

function milliseconds(time: number): string {
  return `${time < 10 ? time.toFixed(1) : Math.round(time)} ms`;
}
