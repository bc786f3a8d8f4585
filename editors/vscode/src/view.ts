/** What the status bar says of the server, the model and what they are doing. */

/** The server's process. */
export type ServerState =
  | { readonly name: "stopped" }
  | { readonly name: "missing" }
  | { readonly name: "installing" }
  | { readonly name: "starting" }
  | { readonly name: "running" }
  | { readonly name: "failed"; readonly message: string };

/** What `lsp-stablecode.status` answers, as far as it is shown. */
export interface ModelStatus {
  readonly state: "idle" | "loading" | "ready" | "resting" | "failed";
  readonly message: string;
  readonly engine: {
    readonly model: string;
    readonly device: string;
    readonly dtype: string;
    readonly context_tokens: number;
  } | null;
}

/** The model's loading, as work-done progress. */
export interface Loading {
  readonly stage: string;
  readonly percentage: number | undefined;
}

/** Why nothing is suggested although everything works. */
export type Silence =
  | { readonly why: "disabled" }
  | { readonly why: "snoozed"; readonly untilMs: number }
  | { readonly why: "language"; readonly languageId: string };

/** The last `didChangeStatus` of the server. */
export interface Notice {
  readonly kind: "Normal" | "Warning" | "Error" | "Inactive";
  readonly busy?: boolean;
  readonly message?: string;
}

export interface View {
  readonly server: ServerState;
  readonly model: ModelStatus | undefined;
  readonly loading: Loading | undefined;
  readonly notice: Notice | undefined;
  readonly silence: Silence | undefined;
  readonly thinking: boolean;
}

export interface Shown {
  readonly text: string;
  readonly tooltip: string;
  readonly severity: "none" | "warning" | "error";
}

const NAME = "Stable Code";

/** Return what to show; `clock` writes a time of day. */
export function describe(view: View, clock: (timeMs: number) => string): Shown {
  const { server, model, loading, silence, notice } = view;
  switch (server.name) {
    case "stopped":
      return shown("circle-slash", NAME, "The server is stopped.");
    case "missing":
      return shown("warning", NAME, "The server is not installed.", "warning");
    case "installing":
      return shown(
        "loading~spin",
        `${NAME}: installing`,
        "The server is being installed.",
      );
    case "starting":
      return shown("loading~spin", NAME, "The server starts.");
    case "failed":
      return shown("error", NAME, server.message, "error");
    case "running":
      break;
  }
  if (loading !== undefined) {
    const percentage =
      loading.percentage === undefined ? "" : ` ${loading.percentage}%`;
    return shown(
      "loading~spin",
      `${NAME}: loading${percentage}`,
      `The model is being loaded: ${loading.stage}.`,
    );
  }
  if (model === undefined || model.state === "idle" || model.state === "loading") {
    return shown("loading~spin", `${NAME}: loading`, "The model is being loaded.");
  }
  if (model.state === "resting") {
    return shown("debug-pause", NAME, "The model rests until it is asked.");
  }
  if (model.state === "failed" || model.engine === null) {
    const message = model.message || "The model could not be loaded.";
    return shown("error", NAME, message, "error");
  }
  const { engine } = model;
  const label = `${shortened(engine.model)} · ${engine.device}`;
  const detail =
    `Model ${engine.model}, ${engine.dtype} on ${engine.device}, ` +
    `${engine.context_tokens} tokens of context.`;
  if (silence !== undefined) {
    const [icon, text, why] = paused(silence, label, clock);
    return shown(icon, text, `${why}\n\n${detail}`);
  }
  const told = `${notice?.message ?? ""}\n\n${detail}`.trim();
  switch (notice?.kind) {
    case "Error":
      return shown("error", label, told, "error");
    case "Warning":
      return shown("warning", label, told, "warning");
    case "Inactive":
      // Not here: git ignores the file, for instance.
      return shown("circle-slash", label, told);
  }
  return view.thinking
    ? shown("loading~spin", label, `Thinking.\n\n${detail}`)
    : shown("sparkle", label, `Ready.\n\n${detail}`);
}

function paused(
  silence: Silence,
  label: string,
  clock: (timeMs: number) => string,
): [icon: string, text: string, why: string] {
  switch (silence.why) {
    case "disabled":
      return ["circle-slash", label, "Suggestions are switched off."];
    case "snoozed": {
      const until = clock(silence.untilMs);
      return ["bell-slash", `${NAME}: until ${until}`, `Snoozed until ${until}.`];
    }
    case "language":
      return ["circle-slash", label, `Switched off for ${silence.languageId}.`];
  }
}

function shown(
  icon: string,
  text: string,
  tooltip: string,
  severity: Shown["severity"] = "none",
): Shown {
  return { text: `$(${icon}) ${text}`, tooltip, severity };
}

/** A model may be a folder or a file, and the status bar is short. */
function shortened(model: string): string {
  const last = model.split(/[\\/]/).filter(Boolean).at(-1) ?? model;
  return last.length > 24 ? `${last.slice(0, 23)}…` : last;
}
