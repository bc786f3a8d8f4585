--- What is suggested at the cursor: asked for, shown, typed into, chosen, dropped.

local builtin = require('lsp-stablecode.builtin')
local candidates = require('lsp-stablecode.candidate')
local ghost = require('lsp-stablecode.ghost')
local menu = require('lsp-stablecode.menu')
local options = require('lsp-stablecode.options')
local requests = require('lsp-stablecode.requests')
local silence = require('lsp-stablecode.silence')

local api = vim.api

local M = {}

--- Remembers where the candidates begin while lines above them come and go.
local anchors = api.nvim_create_namespace('lsp-stablecode.anchor')

---@class lsp-stablecode.Shown
---@field bufnr integer
---@field client vim.lsp.Client
---@field anchor integer
---@field candidates lsp-stablecode.Candidate[]
---@field index integer Of the one that is shown
---@field is_complete boolean Whether they were asked for by hand: there are no more

---@type lsp-stablecode.Shown?
local shown

--- Where the cursor was and what was selected when the server was last asked.
---@type { place: lsp-stablecode.Place, selected?: lsp-stablecode.Selected }?
local asked

---@type table<integer, integer>
local client_ids = {}

--- Whether Neovim's own inline completion draws, by server: settled at its start.
---@type table<integer, boolean>
local is_drawn_by_neovim = {}

--- Whether it is to draw for the servers that start now.
---@return boolean
function M.is_builtin()
  return options.get().ghost_text == 'builtin' and builtin.is_usable()
end

---@param bufnr integer
---@return vim.lsp.Client?
local function client_of(bufnr)
  local client = client_ids[bufnr] and vim.lsp.get_client_by_id(client_ids[bufnr])
  return client and not client:is_stopped() and client or nil
end

---@param lines string[]
---@return string
local function joined(lines)
  return table.concat(lines, '\n')
end

--- Return what is left of a candidate at the cursor.
---@param candidate lsp-stablecode.Candidate
---@param place lsp-stablecode.Place
---@return lsp-stablecode.Rest?
local function rest_of(candidate, place)
  assert(shown)
  local mark = api.nvim_buf_get_extmark_by_id(shown.bufnr, anchors, shown.anchor, {})
  local row, column = mark[1], candidate.start_column
  if not row or row > place.row or (row == place.row and column > place.column) then
    return nil
  end
  local first = api.nvim_buf_get_lines(shown.bufnr, row, row + 1, false)[1]
  if first:sub(1, column) ~= candidate.head then
    return nil
  end
  local typed = api.nvim_buf_get_text(shown.bufnr, row, column, place.row, place.column, {})
  local line = api.nvim_buf_get_lines(shown.bufnr, place.row, place.row + 1, false)[1]
  return candidates.rest(candidate, joined(typed), line:sub(place.column + 1))
end

--- Take the ghost text off the screen and forget it.
function M.drop()
  if not shown then
    return
  end
  ghost.hide(shown.bufnr)
  builtin.hide(shown.client, shown.bufnr)
  if api.nvim_buf_is_valid(shown.bufnr) then
    api.nvim_buf_del_extmark(shown.bufnr, anchors, shown.anchor)
  end
  shown = nil
end

--- Draw what fits of the candidates. Return false, and drop them, where none does.
---@param place lsp-stablecode.Place
---@return boolean
local function draw(place)
  assert(shown)
  local chosen = shown.candidates[shown.index]
  local fitting = {} ---@type lsp-stablecode.Candidate[]
  local rests = {} ---@type lsp-stablecode.Rest[]
  for _, candidate in ipairs(shown.candidates) do
    local rest = rest_of(candidate, place)
    if rest then
      fitting[#fitting + 1], rests[#rests + 1] = candidate, rest
    end
  end
  local index
  for number, candidate in ipairs(fitting) do
    index = candidate == chosen and number or index
  end
  if not index then
    M.drop()
    return false
  end
  shown.candidates, shown.index = fitting, index
  local has_hint = shown.is_complete
  if is_drawn_by_neovim[shown.client.id] then
    builtin.show(shown.client, shown.bufnr, place.row, place.column, rests, index, has_hint)
  else
    local hint = has_hint and ('(%d/%d)'):format(index, #fitting) or nil
    ghost.show(shown.bufnr, place.row, place.column, rests[index], hint)
  end
  if not chosen.was_shown then
    chosen.was_shown = true
    requests.tell(shown.client, 'didShowCompletion', { item = chosen.item })
  end
  return true
end

--- Put an answer in place of what is shown; the same text stays where it is.
---@param client vim.lsp.Client
---@param items lsp.InlineCompletionItem[]
---@param place lsp-stablecode.Place
---@param is_complete boolean
---@return boolean
local function replace(client, items, place, is_complete)
  local before = shown and rest_of(shown.candidates[shown.index], place)
  M.drop()
  local line = api.nvim_buf_get_lines(place.bufnr, place.row, place.row + 1, false)[1]
  local found = {} ---@type lsp-stablecode.Candidate[]
  for _, item in ipairs(items) do
    found[#found + 1] =
      candidates.from_item(item, place.row, place.column, line, client.offset_encoding)
  end
  if #found == 0 then
    return false
  end
  shown = {
    bufnr = place.bufnr,
    client = client,
    anchor = api.nvim_buf_set_extmark(place.bufnr, anchors, place.row, found[1].start_column, {
      right_gravity = false,
    }),
    candidates = found,
    index = 1,
    is_complete = is_complete,
  }
  -- Candidates that say nothing new here do not count.
  shown.candidates = vim.tbl_filter(function(candidate)
    return rest_of(candidate, place) ~= nil
  end, found)
  for number, candidate in ipairs(shown.candidates) do
    local rest = rest_of(candidate, place)
    if before and rest and rest.text == before.text then
      shown.index = number
    end
  end
  return draw(place)
end

---@param client vim.lsp.Client
---@param place lsp-stablecode.Place
---@param selected? lsp-stablecode.Selected
local function ask(client, place, selected)
  asked = { place = place, selected = selected }
  requests.send(client, false, selected, function(items, answered)
    if not silence.unasked(answered.bufnr, menu.state()) then
      replace(client, items, answered, false)
    end
  end)
end

--- Follow the text and the cursor: show what still fits, and ask anew if they changed.
function M.update()
  local bufnr = api.nvim_get_current_buf()
  local client = client_of(bufnr)
  if not client then
    return
  end
  local beside = menu.state()
  if silence.unasked(bufnr, beside) then
    return M.clear()
  end
  local place = requests.place()
  local selected = beside and beside.selected
  if asked and vim.deep_equal(asked, { place = place, selected = selected }) then
    return
  end
  if shown then
    draw(place)
  end
  ask(client, place, selected)
end

--- Ask by hand; every alternative comes, and the one that is shown stays shown.
---@param step? integer How many alternatives to go on by once they are there
---@return boolean is_asked
function M.ask_by_hand(step)
  local bufnr = api.nvim_get_current_buf()
  local client = client_of(bufnr)
  if not client or silence.always(bufnr) then
    return false
  end
  local beside = menu.state()
  local selected = beside and beside.selected
  asked = { place = requests.place(), selected = selected }
  requests.send(client, true, selected, function(items, place)
    if not silence.always(place.bufnr) and replace(client, items, place, true) and step then
      M.choose(step)
    end
  end)
  return true
end

--- Show another alternative; the first time the server is asked for them.
---@param step integer
---@return boolean is_shown
function M.choose(step)
  if not shown then
    return false
  elseif not shown.is_complete then
    return M.ask_by_hand(step)
  end
  shown.index = (shown.index - 1 + step) % #shown.candidates + 1
  return draw(requests.place())
end

--- Drop what is shown and what was asked for, until the text or the cursor changes.
---@return boolean was_shown
function M.dismiss()
  local was_shown = shown ~= nil
  requests.cancel()
  M.drop()
  return was_shown
end

--- The same, and ask again at the next occasion even if nothing changes.
function M.clear()
  M.dismiss()
  asked = nil
end

--- Ask again if the cursor is in Insert mode: the model is there now, or was changed.
function M.refresh()
  asked = nil
  M.update()
end

--- Return what is shown at the cursor; nil where it does not fit or nothing is.
---@return lsp-stablecode.Rest?
---@return lsp-stablecode.Candidate?
---@return vim.lsp.Client?
function M.current()
  if not shown or shown.bufnr ~= api.nvim_get_current_buf() then
    return nil
  end
  local candidate = shown.candidates[shown.index]
  local rest = rest_of(candidate, requests.place())
  if rest then
    return rest, candidate, shown.client
  end
end

---@param client vim.lsp.Client
---@param bufnr integer
function M.attach(client, bufnr)
  client_ids[bufnr] = client.id
  if is_drawn_by_neovim[client.id] == nil then
    is_drawn_by_neovim[client.id] = M.is_builtin()
  end
  if is_drawn_by_neovim[client.id] then
    builtin.attach(client, bufnr)
  end
end

---@param client_id integer
---@param bufnr integer
---@return boolean is_last Whether no other client of ours has taken its place
function M.detach(client_id, bufnr)
  if client_ids[bufnr] ~= client_id then
    return false
  end
  client_ids[bufnr] = nil
  if bufnr == api.nvim_get_current_buf() then
    M.clear()
  end
  return true
end

---@param bufnr integer
---@return vim.lsp.Client?
function M.client(bufnr)
  return client_of(bufnr)
end

return M
