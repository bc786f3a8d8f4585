--- Asking the server: one request at a time, and the one before it is cancelled.

local tracking = require('lsp-stablecode.tracking')

local api = vim.api
local log = require('vim.lsp.log')

local M = {}

M.METHOD = 'textDocument/inlineCompletion'

--- RequestCancelled, ContentModified, ServerCancelled: nobody waits for these answers.
local UNWANTED = { [-32800] = true, [-32801] = true, [-32802] = true }

---@class lsp-stablecode.Place
---@field bufnr integer
---@field tick integer
---@field row integer From 0
---@field column integer In bytes, from 0

---@class lsp-stablecode.Request
---@field client vim.lsp.Client
---@field id? integer

---@type lsp-stablecode.Request?
local pending

---@return lsp-stablecode.Place
function M.place()
  local row, column = unpack(api.nvim_win_get_cursor(0))
  return {
    bufnr = api.nvim_get_current_buf(),
    tick = api.nvim_buf_get_changedtick(0),
    row = row - 1,
    column = column,
  }
end

---@return boolean
function M.is_pending()
  return pending ~= nil
end

function M.cancel()
  local request = pending
  pending = nil
  if request and request.id and not request.client:is_stopped() then
    request.client:cancel_request(request.id)
  end
end

--- Send a notification that is not a part of LSP: Copilot's server has them, and ours.
---@param client vim.lsp.Client
---@param name 'didFocus'|'didShowCompletion'|'didPartiallyAcceptCompletion'
---@param params table
function M.tell(client, name, params)
  ---@diagnostic disable-next-line: param-type-mismatch
  client:notify('textDocument/' .. name, params)
end

---@param client vim.lsp.Client
---@param place lsp-stablecode.Place
---@param selected? lsp-stablecode.Selected
---@return lsp.SelectedCompletionInfo?
local function selected_info(client, place, selected)
  if not selected then
    return nil
  end
  local line = api.nvim_get_current_line()
  ---@param column integer
  ---@return lsp.Position
  local function position(column)
    local character = vim.str_utfindex(line, client.offset_encoding, column, false)
    return { line = place.row, character = character }
  end
  return {
    range = { start = position(selected.column), ['end'] = position(place.column) },
    text = selected.text,
  }
end

--- Ask for the current place. `on_answer` is called unless something was asked or
--- cancelled since, or the text or the cursor is another.
---@param client vim.lsp.Client
---@param is_by_hand boolean
---@param selected? lsp-stablecode.Selected
---@param on_answer fun(items: lsp.InlineCompletionItem[], place: lsp-stablecode.Place)
function M.send(client, is_by_hand, selected, on_answer)
  M.cancel()
  local place = M.place()
  local request = { client = client } ---@type lsp-stablecode.Request
  pending = request
  local kinds = { by_hand = 1, unasked = 2 }
  ---@type lsp.InlineCompletionParams
  local params = {
    textDocument = { uri = vim.uri_from_bufnr(place.bufnr) },
    position = vim.lsp.util.make_position_params(0, client.offset_encoding).position,
    context = {
      triggerKind = is_by_hand and kinds.by_hand or kinds.unasked,
      selectedCompletionInfo = selected_info(client, place, selected),
    },
  }
  tracking.catch_up(client, place.bufnr)
  local is_sent, id = client:request(M.METHOD, params, function(problem, result)
    if pending ~= request then
      return
    end
    pending = nil
    if problem then
      if not UNWANTED[problem.code] then
        log.error('lsp-stablecode', M.METHOD, problem)
      end
    elseif vim.deep_equal(M.place(), place) then
      on_answer(result and (result.items or result) or {}, place)
    end
  end, place.bufnr)
  request.id = id
  if not is_sent then
    pending = nil
  end
end

return M
