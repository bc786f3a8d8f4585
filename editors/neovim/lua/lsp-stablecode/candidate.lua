--- One suggestion of the server, and what is left of it while its text is typed.
---
--- A candidate stands for the text between its start and the cursor's line end:
---
---     head │ typed so far ▮ covered │ kept
---
--- Accepting it replaces `typed` and `covered` by its text. `covered` are closing
--- brackets that the text brings itself, and those an editor adds with their openers.

local M = {}

---@class lsp-stablecode.Candidate
---@field item lsp.InlineCompletionItem
---@field start_row integer The row it was made for, from 0
---@field start_column integer In bytes, from 0
---@field head string What stands before it on its first line
---@field kept string What stays after it on the cursor's line
---@field covered string What its range covered right of the cursor it was made for
---@field text string With line feeds, whatever the file has
---@field has_carriage_returns boolean Whether the server wrote CRLF
---@field was_shown boolean

---@class lsp-stablecode.Piece
---@field offset integer Bytes of `covered` that stand before it
---@field text string

---@class lsp-stablecode.Rest
---@field item lsp.InlineCompletionItem
---@field typed string
---@field text string What is still to come
---@field covered string
---@field kept string
---@field pieces? lsp-stablecode.Piece[] The text less `covered`, where that is one line

local CLOSERS = '^[%)%]}>"\'`]*$'

--- Split `text` around the characters of `covered`, which it must hold in this order:
--- they stand in the buffer already. The last place of each is taken.
---@param text string
---@param covered string
---@return lsp-stablecode.Piece[]?
local function weave(text, covered)
  local pieces = {} ---@type lsp-stablecode.Piece[]
  local last = #text
  for offset = #covered, 1, -1 do
    local place = last
    while place > 0 and text:byte(place) ~= covered:byte(offset) do
      place = place - 1
    end
    if place == 0 then
      return nil
    end
    table.insert(pieces, 1, { offset = offset, text = text:sub(place + 1, last) })
    last = place - 1
  end
  table.insert(pieces, 1, { offset = 0, text = text:sub(1, last) })
  return pieces
end

--- Read an item; nil for what cannot be ghost text (a snippet, a range elsewhere).
---@param item lsp.InlineCompletionItem
---@param row integer The cursor's, from 0
---@param column integer The cursor's, in bytes from 0
---@param line string The cursor's line
---@param encoding 'utf-8'|'utf-16'|'utf-32'
---@return lsp-stablecode.Candidate?
function M.from_item(item, row, column, line, encoding)
  local text = item.insertText
  if type(text) ~= 'string' then
    return nil
  end
  local first, last = column, column
  if item.range then
    if item.range.start.line ~= row or item.range['end'].line ~= row then
      return nil
    end
    first = vim.str_byteindex(line, encoding, item.range.start.character, false)
    last = vim.str_byteindex(line, encoding, item.range['end'].character, false)
  end
  if first > column or last < column then
    return nil
  end
  return {
    item = item,
    start_row = row,
    start_column = first,
    head = line:sub(1, first),
    kept = line:sub(last + 1),
    covered = line:sub(column + 1, last),
    text = (text:gsub('\r\n', '\n')),
    has_carriage_returns = text:find('\r\n', 1, true) ~= nil,
    was_shown = false,
  }
end

--- Return what is left once `typed` stands between the start and the cursor, and
--- `after` right of it; nil if it does not fit there, or nothing is left.
---@param candidate lsp-stablecode.Candidate
---@param typed string
---@param after string
---@return lsp-stablecode.Rest?
function M.rest(candidate, typed, after)
  if not vim.startswith(candidate.text, typed) or not vim.endswith(after, candidate.kept) then
    return nil
  end
  local text = candidate.text:sub(#typed + 1)
  local covered = after:sub(1, #after - #candidate.kept)
  if text == covered then
    return nil
  end
  local pieces = weave(text, covered)
  local is_known = vim.endswith(candidate.covered, covered)
  if not is_known and not (pieces and covered:find(CLOSERS)) then
    return nil
  end
  return {
    item = candidate.item,
    typed = typed,
    text = text,
    covered = covered,
    kept = candidate.kept,
    pieces = not text:find('\n', 1, true) and pieces or nil,
  }
end

--- Return how many bytes of `rest.covered` to remove when its first `length` bytes of
--- text are accepted: those that what is left then does not bring.
---@param rest lsp-stablecode.Rest
---@param length integer
---@return integer
function M.num_superfluous(rest, length)
  local left = rest.text:sub(length + 1)
  if left == '' then
    return #rest.covered
  end
  if not weave(rest.text, rest.covered) then
    return 0
  end
  local num = 0
  while not weave(left, rest.covered:sub(num + 1)) do
    num = num + 1
  end
  return num
end

--- Return the length in bytes of the first word of a text, with the blanks before it.
--- What a word is, says 'iskeyword'.
---@param text string
---@return integer
function M.word_length(text)
  return #vim.fn.matchstr(text, [[\v^\_s*(\k+|(\k@!\S)+|$)]])
end

--- Return the length in bytes of a text's first line; of a line end and the lines
--- after it up to one with text, where the text begins with a line end.
---@param text string
---@return integer
function M.line_length(text)
  return #vim.fn.matchstr(text, [[\v^\_s*[^\n]*]])
end

--- Return how many UTF-16 code units of `insertText` the first bytes of its text are.
---@param candidate lsp-stablecode.Candidate
---@param num_bytes integer
---@return integer
function M.num_units(candidate, num_bytes)
  local accepted = candidate.text:sub(1, num_bytes)
  local num_units = vim.str_utfindex(accepted, 'utf-16')
  if candidate.has_carriage_returns then
    num_units = num_units + select(2, accepted:gsub('\n', ''))
  end
  return num_units
end

return M
