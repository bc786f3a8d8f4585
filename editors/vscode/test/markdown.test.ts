import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Explanation, explanation, findings } from "../src/markdown.ts";

const told: Explanation = {
  uri: "file:///work/a.py",
  outcome: "shown",
  suggestions: [{ text: "a | b\n```", confidence: 0.874, removed: ["filler"] }],
  withheld: [],
  threshold: 0.35,
  candidates: [
    {
      text: "a",
      finishReason: "line",
      tokens: 2,
      meanLogprob: Math.log(0.5),
      probabilities: [
        { text: " |", probability: 0.9 },
        { text: "`\n", probability: 0.1 },
      ],
    },
  ],
  shape: { kind: "line", reason: "mid-line" },
  removed: [],
  fimOrder: "spm",
  prompt: [
    { kind: "context", num_tokens: 9, num_reused: 3, path: "b.py", source: "open" },
  ],
  healed: "re",
  statistics: {
    prompt_tokens: 12,
    reused_tokens: 3,
    generated_tokens: 2,
    forwards: 2,
    prefill_ms: 3.14,
    decode_ms: 15.9,
    drafted_tokens: 0,
    accepted_tokens: 0,
  },
  gatherMs: 0,
  totalMs: 20,
};

describe("an explanation", () => {
  it("shows text as it is, whatever it holds", () => {
    const text = explanation(told);
    assert.ok(
      text.includes("````\na | b\n```\n````\n\nconfidence 87 %; removed: filler"),
    );
    // Markdown takes one blank away from either end.
    assert.ok(text.includes("| `  \\| ` | 90 % |"));
    assert.ok(text.includes("| `` `\\n `` | 10 % |"));
  });

  it("tells of the prompt, the reasons and the time", () => {
    const text = explanation(told);
    assert.ok(text.includes("| context | 9 | 3 | b.py (open) |"));
    assert.ok(text.includes("- Shape: line, because mid-line"));
    assert.ok(text.includes("- Shown from a confidence of 35 %"));
    assert.ok(text.includes("- Half-typed text that was generated again: `re`"));
    assert.ok(text.includes("- Reading the prompt: 3.1 ms"));
    assert.ok(text.includes("- Together: 20 ms"));
    assert.ok(!text.includes("Guessed ahead"));
  });

  it("says so where nothing was asked for", () => {
    assert.match(explanation(null), /type something first/);
  });
});

describe("doctor's findings", () => {
  it("are marked, with what to do about them", () => {
    const text = findings([
      { subject: "kernels", text: "compiled", advice: "", fatal: false },
      { subject: "GPU", text: "none\nfound", advice: "buy one", fatal: false },
      { subject: "model", text: "gone", advice: "", fatal: true },
    ]);
    assert.equal(
      text,
      "# Doctor\n\n- ✓ **kernels**: compiled\n" +
        "- ! **GPU**: none  \n  found  \n  → buy one\n- ✗ **model**: gone\n",
    );
  });
});
