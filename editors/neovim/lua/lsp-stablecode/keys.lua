--- Keys that act on ghost text where there is some, and are what they were elsewhere.
---
--- They are mapped in each attached buffer, over whatever mapping the key has in it or
--- everywhere. Vim itself keeps that mapping, of whatever kind it is, under a <Plug>
--- name. A mapping that somebody puts over ours later comes first. It may go on to ours
--- whenever it likes, so what lies below another's mapping is left there for good: ours
--- is never mapped over what calls it.

local options = require('lsp-stablecode.options')

local api = vim.api

local M = {}

local MARK = 'lsp-stablecode: '

---@alias lsp-stablecode.Mapping table<string, any> As |maparg()| tells it

---@class lsp-stablecode.Mapped
---@field lhs string
---@field action? lsp-stablecode.Action Nothing while the key is given back
---@field before? lsp-stablecode.Mapping What the buffer had of its own
---@field is_kept boolean Whether the key means anything but itself elsewhere
---@field is_inside boolean Whether that runs now

--- What is mapped in which buffer, by key; also what was, and others may still call.
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

---@param bufnr integer
---@param lhs string
---@return lsp-stablecode.Mapping?
local function in_buffer(bufnr, lhs)
  return find(lhs, api.nvim_buf_get_keymap(bufnr, 'i'))
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

--- Keep what the key means elsewhere, and know while it runs.
---@param bufnr integer
---@param one lsp-stablecode.Mapped
---@param mapping lsp-stablecode.Mapping
local function keep(bufnr, one, mapping)
  local run = mapping.callback
  if run then
    mapping = vim.tbl_extend('force', mapping, {
      callback = function()
        one.is_inside = true
        local is_done, result = pcall(run)
        one.is_inside = false
        if not is_done then
          error(result, 0)
        end
        return result
      end,
    })
  end
  define(bufnr, mapping, kept_name(one.lhs))
end

--- Act, or do what the key did before.
---@param one lsp-stablecode.Mapped
---@return string
local function press(one)
  local plugin = require('lsp-stablecode')
  if one.action and plugin[one.action]() then
    return ''
  end
  if one.is_kept and not one.is_inside then
    -- Fed and not returned: whoever calls this from a mapping that is not remapped
    -- would insert the name.
    api.nvim_feedkeys(raw(kept_name(one.lhs)), 'im', false)
    return ''
  elseif one.action == 'next' or one.action == 'previous' then
    plugin.trigger()
    return ''
  elseif not one.is_inside and is_ours(in_buffer(api.nvim_get_current_buf(), one.lhs)) then
    -- Mapped again, which Vim does not do with a mapping's own key: else it would not
    -- end abbreviations.
    return one.lhs
  end
  -- Another's mapping has called this one, and would be called by the key.
  api.nvim_feedkeys(raw(one.lhs), 'in', false)
  return ''
end

---@param bufnr integer
---@param action lsp-stablecode.Action
---@param lhs string
local function map_one(bufnr, action, lhs)
  local here = in_buffer(bufnr, lhs)
  local one = mapped[bufnr][lhs]
  local is_new = not one or not here and not one.action
  if is_new then
    local before = not is_ours(here) and here or nil
    one = { lhs = lhs, before = before, is_kept = false, is_inside = false }
    mapped[bufnr][lhs] = one
  end
  one.action = action
  if is_new then
    vim.keymap.set('i', lhs, function()
      return press(one)
    end, { buffer = bufnr, expr = true, remap = true, desc = MARK .. action:gsub('_', ' ') })
  elseif not is_ours(here) then
    return
  end
  local kept = one.before or find(lhs, api.nvim_get_keymap('i'))
  one.is_kept = kept ~= nil
  if kept then
    keep(bufnr, one, kept)
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
  if not api.nvim_buf_is_valid(bufnr) then
    mapped[bufnr] = nil
    return
  end
  for lhs, one in pairs(mapped[bufnr] or {}) do
    one.action = nil
    if is_ours(in_buffer(bufnr, lhs)) then
      mapped[bufnr][lhs] = nil
      vim.keymap.del('i', lhs, { buffer = bufnr })
      if one.is_kept then
        one.is_kept = false
        vim.keymap.del('i', kept_name(lhs), { buffer = bufnr })
      end
      if one.before then
        define(bufnr, one.before, lhs)
      end
    end
  end
end

--- Return what stands over our mappings in a buffer: who else has the key.
---@param bufnr integer
---@return table<string, string> others By key
function M.conflicts(bufnr)
  local others = {} ---@type table<string, string>
  for _, lhs in pairs(options.get().keys) do
    local here = lhs and in_buffer(bufnr, lhs)
    if lhs and not is_ours(here) then
      others[lhs] = here and (here.desc or here.rhs or 'a function') or 'nothing'
    end
  end
  return others
end

return M
