/** Choosing another model, and fetching one that is not here. */

import {
  type LogOutputChannel,
  ProgressLocation,
  type QuickPickItem,
  QuickPickItemKind,
  window,
} from "vscode";
import type { Found } from "./locate.ts";
import type { Run } from "./run.ts";
import { reset, settings, write } from "./settings.ts";

/** One entry of `models list --json`, as far as it is shown. */
export interface KnownModel {
  readonly name: string;
  readonly title: string;
  readonly parameters: number | null;
  readonly licence: string;
  readonly here: boolean;
}

interface Choice extends QuickPickItem {
  /** A model, or `null` where another one is to be named. */
  readonly model?: KnownModel | "auto" | null;
}

/** Let the user choose, and write the setting. */
export async function switchModel(
  server: Found,
  run: Run,
  log: LogOutputChannel,
): Promise<void> {
  const current = settings().get("model", "auto");
  const abort = new AbortController();
  const known = knownModels(server, run, log, abort.signal);
  const chosen = await window.showQuickPick<Choice>(
    known.then((models) => choices(models, current)),
    { title: "Model", matchOnDescription: true, matchOnDetail: true },
  );
  abort.abort();
  if (chosen?.model === undefined) {
    return;
  }
  if (chosen.model === null) {
    const named = await window.showInputBox({
      title: "Model",
      prompt: "A folder, a GGUF file or a Hugging Face repository",
      value: current,
    });
    if (named?.trim()) {
      await write("model", named.trim());
    }
  } else if (chosen.model === "auto") {
    await reset("model");
  } else if (chosen.model.here || (await fetched(server, chosen.model, run, log))) {
    await write("model", chosen.model.name);
  }
}

async function knownModels(
  server: Found,
  run: Run,
  log: LogOutputChannel,
  signal: AbortSignal,
): Promise<KnownModel[]> {
  const command = [...server.command, "models", "list", "--json"];
  const { stdout, complaint } = await run(command, { signal });
  try {
    return JSON.parse(stdout) as KnownModel[];
  } catch {
    log.error(`models list: ${complaint || stdout}`);
    return [];
  }
}

function choices(known: readonly KnownModel[], current: string): Choice[] {
  const mark = (name: string) => (name === current ? "$(check) " : "");
  const choice = (model: KnownModel): Choice => ({
    label: `${mark(model.name)}${model.name}`,
    description: model.parameters ? `${(model.parameters / 1e9).toFixed(1)} B` : "",
    detail: `${model.title} · ${model.licence}`,
    model,
  });
  return [
    {
      label: `${mark("auto")}auto`,
      description: "what fits this machine best",
      model: "auto",
    },
    { label: "On this machine", kind: QuickPickItemKind.Separator },
    ...known.filter((model) => model.here).map(choice),
    { label: "To be downloaded", kind: QuickPickItemKind.Separator },
    ...known.filter((model) => !model.here).map(choice),
    { label: "Others", kind: QuickPickItemKind.Separator },
    { label: "$(edit) Name a folder, a file or a repository…", model: null },
  ];
}

/** Ask, then download; tell whether it is here now. */
async function fetched(
  server: Found,
  model: KnownModel,
  run: Run,
  log: LogOutputChannel,
): Promise<boolean> {
  const download = "Download";
  const answer = await window.showWarningMessage(
    `${model.title} is not on this machine. Download it from the Hugging Face hub?`,
    { modal: true, detail: `Its licence is: ${model.licence}. Read it first.` },
    download,
  );
  if (answer !== download) {
    return false;
  }
  const abort = new AbortController();
  const ended = await window.withProgress(
    {
      location: ProgressLocation.Notification,
      title: `Downloading ${model.name}`,
      cancellable: true,
    },
    (_progress, token) => {
      token.onCancellationRequested(() => abort.abort());
      return run([...server.command, "models", "pull", model.name], {
        signal: abort.signal,
        onLine: (line) => log.info(line),
      });
    },
  );
  if (ended.code !== 0 && !abort.signal.aborted) {
    const show = "Show Log";
    const message = `${model.name} could not be downloaded. ${ended.complaint}`;
    if ((await window.showErrorMessage(message, show)) === show) {
      log.show();
    }
  }
  return ended.code === 0;
}
