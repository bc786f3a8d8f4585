--- Keys that act on ghost text where there is some, and are what they were elsewhere.
---
--- They are mapped in each attached buffer, over whatever mapping the key has in it or
--- everywhere. Vim itself keeps that mapping, of whatever kind it is, under a <Plug>
--- name. A mapping that somebody puts over ours later comes first.

local options = require('lsp-stablecode.options')

local api = vim.api

local M = {}

local MARK = 'lsp-stablecode: '

---@alias lsp-stablecode.Mapping table<string, any> As |maparg()| tells it

---@class lsp-stablecode.Mapped
---@field before? lsp-stablecode.Mapping What the buffer had of its own
---@field is_kept boolean Whether the key means anything but itself elsewhere

--- What is mapped in which buffer, by key.
---@type table<integer, table<string, lsp-stablecode.Mapped>>
local mapped = {}

---@param keys string
---@return string
local function raw(keys)
  return api.nvim_replace_termcodes(keys, true, true, true)
end

---@param mapping? lsp-stablecode.Mapping
---@return boolean
local function is_ours(mapping)
  return mapping ~= nil and vim.startswith(mapping.desc or '', MARK)
end

---@param lhs string
---@return string
local function kept_name(lhs)
  return ('<Plug>(lsp-stablecode-otherwise-%s)'):format((lhs:gsub('[<>]', '')))
end

---@param lhs string
---@param mappings lsp-stablecode.Mapping[]
---@return lsp-stablecode.Mapping?
local function find(lhs, mappings)
  for _, mapping in ipairs(mappings) do
    if raw(mapping.lhs) == raw(lhs) then
      return mapping
    end
  end
end

--- Define a mapping again, in a buffer and under a name of its own.
---@param bufnr integer
---@param mapping lsp-stablecode.Mapping
---@param lhs string
local function define(bufnr, mapping, lhs)
  local copy = vim.tbl_extend('force', mapping, { lhs = lhs, lhsraw = raw(lhs), buffer = 1 })
  copy.lhsrawalt = nil
  -- Vim does not map the beginning of a mapping's own text again; under another name
  -- it would, without end.
  if copy.noremap == 0 and copy.rhs and vim.startswith(raw(copy.rhs), raw(mapping.lhs)) then
    copy.noremap = 1
  end
  api.nvim_buf_call(bufnr, function()
    vim.fn.mapset('i', false, copy)
  end)
end

--- Act, or do what the key did before.
---@param action lsp-stablecode.Action
---@param lhs string
---@return string
local function press(action, lhs)
  local plugin = require('lsp-stablecode')
  if plugin[action]() then
    return ''
  end
  if mapped[api.nvim_get_current_buf()][lhs].is_kept then
    -- Fed and not returned: whoever calls this from a mapping that is not remapped
    -- would insert the name.
    api.nvim_feedkeys(raw(kept_name(lhs)), 'im', false)
    return ''
  elseif action == 'next' or action == 'previous' then
    plugin.trigger()
    return ''
  end
  return lhs
end

---@param bufnr integer
---@param action lsp-stablecode.Action
---@param lhs string
local function map_one(bufnr, action, lhs)
  local here = find(lhs, api.nvim_buf_get_keymap(bufnr, 'i'))
  local ours = mapped[bufnr][lhs]
  if not ours then
    ours = { before = here, is_kept = false }
    mapped[bufnr][lhs] = ours
    vim.keymap.set('i', lhs, function()
      return press(action, lhs)
    end, { buffer = bufnr, expr = true, remap = true, desc = MARK .. action:gsub('_', ' ') })
  elseif not is_ours(here) then
    return
  end
  local kept = ours.before or find(lhs, api.nvim_get_keymap('i'))
  ours.is_kept = kept ~= nil
  if kept then
    define(bufnr, kept, kept_name(lhs))
  end
end

--- Map the keys in a buffer; called again, take note of what they became elsewhere.
---@param bufnr integer
function M.map(bufnr)
  mapped[bufnr] = mapped[bufnr] or {}
  for action, lhs in pairs(options.get().keys) do
    if lhs then
      map_one(bufnr, action, lhs)
    end
  end
end

--- Give the keys back.
---@param bufnr integer
function M.unmap(bufnr)
  local keys = mapped[bufnr] or {}
  mapped[bufnr] = nil
  if not api.nvim_buf_is_loaded(bufnr) then
    return
  end
  for lhs, ours in pairs(keys) do
    local all = api.nvim_buf_get_keymap(bufnr, 'i')
    if find(kept_name(lhs), all) then
      vim.keymap.del('i', kept_name(lhs), { buffer = bufnr })
    end
    if is_ours(find(lhs, all)) then
      vim.keymap.del('i', lhs, { buffer = bufnr })
      if ours.before then
        define(bufnr, ours.before, lhs)
      end
    end
  end
end

--- Return what stands over our mappings in a buffer: who else has the key.
---@param bufnr integer
---@return table<string, string> others By key
function M.conflicts(bufnr)
  local others = {} ---@type table<string, string>
  local all = api.nvim_buf_get_keymap(bufnr, 'i')
  for _, lhs in pairs(options.get().keys) do
    local here = lhs and find(lhs, all)
    if lhs and not is_ours(here) then
      others[lhs] = here and (here.desc or here.rhs or 'a function') or 'nothing'
    end
  end
  return others
end

return M
