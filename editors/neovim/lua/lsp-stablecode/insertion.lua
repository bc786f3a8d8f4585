--- Accepting: the text, or a part of it, goes into the buffer as one undo step.

local candidates = require('lsp-stablecode.candidate')
local menu = require('lsp-stablecode.menu')
local requests = require('lsp-stablecode.requests')
local suggestions = require('lsp-stablecode.suggestions')

local api = vim.api

local M = {}

---@alias lsp-stablecode.Part 'all'|'word'|'line'

--- CTRL-G u begins and ends the undo step, and closes a completion menu.
local KEYS = '<C-g>u<Cmd>lua require("lsp-stablecode.insertion").insert("%s")<CR><C-g>u'

--- Insert a part of what is shown, as soon as the keys typed so far were executed and
--- before those typed from now on. Mappings with <expr> may call it.
---@param part lsp-stablecode.Part
---@return boolean is_shown
function M.accept(part)
  if not suggestions.current() then
    return false
  end
  local keys = api.nvim_replace_termcodes(KEYS:format(part), true, false, true)
  api.nvim_feedkeys(keys, 'in', false)
  return true
end

--- Insert literally: no indenting, no 'textwidth', no mappings. Unlike
--- `nvim_buf_set_text()` it is repeated by |.| with the keys typed around it. The
--- user's own `vim.paste` is about the clipboard and stays out of it.
---@param text string
local function insert_literally(text)
  local paste = vim.paste
  vim.paste = function(lines) ---@diagnostic disable-line: duplicate-set-field
    api.nvim_put(lines, 'c', false, true)
    return true
  end
  local is_done, problem = pcall(api.nvim_paste, text, false, -1)
  vim.paste = paste
  if not is_done then
    error(problem, 0)
  end
end

---@param text string
---@param part lsp-stablecode.Part
---@return integer
local function length_of(text, part)
  if part == 'word' then
    return candidates.word_length(text)
  elseif part == 'line' then
    return candidates.line_length(text)
  end
  return #text
end

--- What the keys of |accept()| run.
---@param part lsp-stablecode.Part
function M.insert(part)
  local rest, candidate, client = suggestions.current()
  if not rest or not candidate or not client then
    return
  end
  menu.close()
  local length = length_of(rest.text, part)
  local row, column = unpack(api.nvim_win_get_cursor(0))
  local num_superfluous = candidates.num_superfluous(rest, length)
  if num_superfluous > 0 then
    api.nvim_buf_set_text(0, row - 1, column, row - 1, column + num_superfluous, {})
  end
  insert_literally(rest.text:sub(1, length))
  if length < #rest.text then
    requests.tell(client, 'didPartiallyAcceptCompletion', {
      item = rest.item,
      acceptedLength = candidates.num_units(candidate, #rest.typed + length),
    })
    return
  end
  suggestions.drop()
  if rest.item.command then
    client:exec_cmd(rest.item.command, { bufnr = api.nvim_get_current_buf() })
  end
end

return M
