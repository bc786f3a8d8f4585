import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Acceptance } from "../src/acceptance.ts";

const insert = (offset: number, text: string) => [{ offset, removedLength: 0, text }];

describe("what is taken of a suggestion", () => {
  it("is counted from the start of its text", () => {
    const acceptance = new Acceptance("size = width", 2, 10);
    assert.equal(acceptance.follow(insert(10, "ze")), true);
    assert.equal(acceptance.taken, 4);
    assert.equal(acceptance.follow(insert(12, " =")), true);
    assert.equal(acceptance.taken, 6);
  });

  it("counts UTF-16 code units", () => {
    const acceptance = new Acceptance("🏁 done", 0, 0);
    acceptance.follow(insert(0, "🏁"));
    assert.equal(acceptance.taken, 2);
  });

  it("ends with the last character: that is acceptance of all", () => {
    const acceptance = new Acceptance("size", 0, 5);
    assert.equal(acceptance.follow(insert(5, "size")), false);
  });

  it("crosses line ends of either kind, whichever the document has", () => {
    for (const [inText, inDocument] of [
      ["\n", "\r\n"],
      ["\r\n", "\n"],
      ["\r\n", "\r\n"],
    ] as const) {
      const acceptance = new Acceptance(`a${inText}b${inText}c`, 0, 7);
      assert.equal(acceptance.follow(insert(7, `a${inDocument}`)), true);
      assert.equal(acceptance.taken, 1 + inText.length);
      assert.equal(acceptance.follow(insert(8 + inDocument.length, "b")), true);
    }
  });

  it("is over after any other change", () => {
    const changes = {
      "other text": insert(5, "x"),
      "another place": insert(4, "s"),
      "a replacement": [{ offset: 5, removedLength: 1, text: "s" }],
      "a second cursor": [...insert(5, "s"), ...insert(50, "s")],
      "a line end that is not there": insert(5, "s\n"),
    };
    for (const [name, change] of Object.entries(changes)) {
      assert.equal(new Acceptance("size", 0, 5).follow(change), false, name);
    }
  });

  it("goes on where a document was saved, and nothing changed", () => {
    const acceptance = new Acceptance("size", 0, 5);
    assert.equal(acceptance.follow([]), true);
    assert.equal(acceptance.follow(insert(5, "s")), true);
  });
});
