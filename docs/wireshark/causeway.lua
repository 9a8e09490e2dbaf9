--[[
Wireshark dissector for Causeway's datagrams, version 1 (docs/wire-format.md).

    wireshark -X lua_script:causeway.lua        tshark -X lua_script:causeway.lua -r FILE

Datagrams to or from the port in the preferences (7100) are dissected, and others that look like ours. Bodies are sealed;
what is shown is what an observer of the underlay can see.
]]

local causeway = Proto("causeway", "Causeway overlay")

causeway.prefs.port = Pref.uint("UDP port", 7100, "Port that agents listen on (listen.port)")
causeway.prefs.heuristic = Pref.bool("Also on other ports", true, "Try every UDP datagram that no other dissector takes")

local VERSION = 1
local HEADER = 8
local RECORD_HEADER = 16
local TAG = 16
local INIT, RESPONSE, FINAL, COOKIE, RECORD, VERDICT = 1, 2, 3, 4, 5, 6

local TYPES = {
  [INIT] = "Handshake init",
  [RESPONSE] = "Handshake response",
  [FINAL] = "Handshake final",
  [COOKIE] = "Cookie",
  [RECORD] = "Sealed record",
  [VERDICT] = "Verdict",
}

-- Least and greatest size of a datagram of each type, bytes.
local SIZES = {
  [INIT] = { 1200, 1200 },
  [RESPONSE] = { 104, 4096 },
  [FINAL] = { 72, 4096 },
  [COOKIE] = { 64, 64 },
  [RECORD] = { RECORD_HEADER + TAG, 65535 },
  [VERDICT] = { 24, 512 },
}

local f = {
  version = ProtoField.uint8("causeway.version", "Version", base.DEC, nil, 0xf0),
  type = ProtoField.uint8("causeway.type", "Type", base.DEC, TYPES, 0x0f),
  reserved = ProtoField.uint24("causeway.reserved", "Reserved", base.HEX),
  epoch = ProtoField.uint8("causeway.epoch", "Epoch of numbering", base.DEC, nil, 0xe0),
  number = ProtoField.uint24("causeway.number", "Number", base.DEC, nil, 0x1fffff),
  index = ProtoField.uint32("causeway.index", "Receiver index", base.HEX),
  counter = ProtoField.uint64("causeway.counter", "Counter", base.DEC),
  keepalive = ProtoField.bool("causeway.keepalive", "Keepalive"),
  body = ProtoField.bytes("causeway.body", "Sealed frames"),
  body_length = ProtoField.uint32("causeway.body_length", "Length of the frames", base.DEC),
  tag = ProtoField.bytes("causeway.tag", "Tag"),
  ephemeral = ProtoField.bytes("causeway.noise.e", "Noise e: ephemeral key"),
  static = ProtoField.bytes("causeway.noise.s", "Noise s: sealed static key"),
  payload = ProtoField.bytes("causeway.noise.payload", "Noise payload"),
  network_mac = ProtoField.bytes("causeway.network_mac", "Network MAC"),
  cookie_mac = ProtoField.bytes("causeway.cookie_mac", "Cookie MAC"),
  salt = ProtoField.bytes("causeway.cookie.salt", "Salt"),
  cookie = ProtoField.bytes("causeway.cookie.sealed", "Sealed cookie"),
  verdict = ProtoField.bytes("causeway.verdict.sealed", "Sealed verdict"),
}
causeway.fields = {
  f.version, f.type, f.reserved, f.epoch, f.number, f.index, f.counter, f.keepalive, f.body, f.body_length, f.tag, f.ephemeral, f.static,
  f.payload, f.network_mac, f.cookie_mac, f.salt, f.cookie, f.verdict,
}

local e = {
  version = ProtoExpert.new("causeway.bad_version", "Unknown version: agents of version 1 drop this",
    expert.group.PROTOCOL, expert.severity.WARN),
  type = ProtoExpert.new("causeway.bad_type", "Unknown type", expert.group.PROTOCOL, expert.severity.WARN),
  size = ProtoExpert.new("causeway.bad_size", "Size not possible for this type", expert.group.MALFORMED, expert.severity.ERROR),
  reserved = ProtoExpert.new("causeway.bad_reserved", "Reserved bytes are not zero", expert.group.PROTOCOL, expert.severity.NOTE),
  padding = ProtoExpert.new("causeway.bad_padding", "Padding is not zero", expert.group.PROTOCOL, expert.severity.NOTE),
}
causeway.experts = { e.version, e.type, e.size, e.reserved, e.padding }

local function is_zero(range)
  return not range:bytes():tohex():find("[^0]")
end

-- What lies behind the 8 bytes that all datagrams share, by type. Each returns what the info column adds.
local dissect = {}

dissect[INIT] = function(buffer, tree)
  tree:add(f.ephemeral, buffer(8, 32))
  local padding = tree:add(f.payload, buffer(40, 1128))
  padding:append_text(" (padding, in the clear)")
  if not is_zero(buffer(40, 1128)) then padding:add_proto_expert_info(e.padding) end
  tree:add(f.network_mac, buffer(1168, 16))
  local cookie = tree:add(f.cookie_mac, buffer(1184, 16))
  if is_zero(buffer(1184, 16)) then
    cookie:append_text(" (none)")
    return ""
  end
  return ", with cookie"
end

dissect[RESPONSE] = function(buffer, tree)
  tree:add(f.ephemeral, buffer(8, 32))
  tree:add(f.static, buffer(40, 48))
  tree:add(f.payload, buffer(88)):append_text(" (sealed)")
  return ""
end

dissect[FINAL] = function(buffer, tree)
  tree:add(f.static, buffer(8, 48))
  tree:add(f.payload, buffer(56)):append_text(" (sealed)")
  return ""
end

dissect[COOKIE] = function(buffer, tree)
  tree:add(f.salt, buffer(8, 24))
  tree:add(f.cookie, buffer(32, 32))
  return ""
end

-- Records of lanes 2 and 3 are numbered; which lane an index names can't be seen, but on the others these bytes are zero.
local function dissect_number(buffer, tree)
  tree:add(f.epoch, buffer(1, 1))
  local number = tree:add(f.number, buffer(1, 3))
  if not is_zero(buffer(1, 3)) then
    return string.format(", number %d of epoch %d", buffer(1, 3):bitfield(3, 21), buffer(1, 1):bitfield(0, 3))
  end
  number:append_text(" (none, or the first of epoch 0)")
  return ""
end

dissect[RECORD] = function(buffer, tree)
  local length = buffer:len() - RECORD_HEADER - TAG
  tree:add(f.counter, buffer(8, 8))
  tree:add(f.body_length, length):set_generated()
  tree:add(f.keepalive, length == 0):set_generated()
  if length > 0 then tree:add(f.body, buffer(RECORD_HEADER, length)) end
  tree:add(f.tag, buffer(RECORD_HEADER + length, TAG))
  local counter = ", counter " .. tostring(buffer(8, 8):uint64())
  if length == 0 then return counter .. ", keepalive" end
  return counter .. ", " .. length .. " bytes of frames"
end

dissect[VERDICT] = function(buffer, tree)
  tree:add(f.verdict, buffer(8))
  return ""
end

function causeway.dissector(buffer, pinfo, root)
  if buffer:len() == 0 then return 0 end
  local version = buffer(0, 1):bitfield(0, 4)
  local kind = buffer(0, 1):bitfield(4, 4)
  pinfo.cols.protocol = "Causeway"
  local tree = root:add(causeway, buffer())
  local version_item = tree:add(f.version, buffer(0, 1))
  if version ~= VERSION then
    version_item:add_proto_expert_info(e.version)
    pinfo.cols.info = "Version " .. version
    return buffer:len()
  end
  local type_item = tree:add(f.type, buffer(0, 1))
  if not TYPES[kind] then
    type_item:add_proto_expert_info(e.type)
    pinfo.cols.info = "Unknown type " .. kind
    return buffer:len()
  end
  pinfo.cols.info = TYPES[kind]
  local size = SIZES[kind]
  if buffer:len() < size[1] or buffer:len() > size[2] then
    tree:add_proto_expert_info(e.size)
    pinfo.cols.info:append(", of a wrong size (" .. buffer:len() .. ")")
    return buffer:len()
  end
  local numbered = ""
  if kind == RECORD then
    numbered = dissect_number(buffer, tree)
  else
    local reserved = tree:add(f.reserved, buffer(1, 3))
    if not is_zero(buffer(1, 3)) then reserved:add_proto_expert_info(e.reserved) end
  end
  local index = tree:add(f.index, buffer(4, 4))
  if kind == INIT then index:append_text(" (the sender's own)") end
  local more = numbered .. dissect[kind](buffer, tree)
  tree:append_text(", " .. TYPES[kind])
  pinfo.cols.info:append(string.format(", index 0x%08x%s", buffer(4, 4):uint(), more))
  return buffer:len()
end

-- Pairs of endpoints between which a datagram was seen that looks like ours beyond doubt.
local ours = {}
function causeway.init() ours = {} end

local function pair_of(pinfo)
  local one = tostring(pinfo.src) .. " " .. pinfo.src_port
  local other = tostring(pinfo.dst) .. " " .. pinfo.dst_port
  if other < one then one, other = other, one end
  return one .. " " .. other
end

-- A DTLS alert begins like a record: 21, then version 1.0 or 1.2.
local function is_dtls(buffer)
  local version = buffer(1, 2):uint()
  return version == 0xfeff or version == 0xfefd
end

-- First byte, three zero bytes and a possible size: what strangers have in common with us once in 2^30. A numbered record has a number in
-- place of the zeros, and is known only between ends that also sent something without.
local function heuristic(buffer, pinfo, root)
  if not causeway.prefs.heuristic or buffer:len() < HEADER then return false end
  local kind = buffer(0, 1):bitfield(4, 4)
  if buffer(0, 1):bitfield(0, 4) ~= VERSION or not TYPES[kind] then return false end
  local size = SIZES[kind]
  if buffer:len() < size[1] or buffer:len() > size[2] then return false end
  local pair = pair_of(pinfo)
  if is_zero(buffer(1, 3)) then
    ours[pair] = true
  elseif kind ~= RECORD or not ours[pair] or is_dtls(buffer) then
    return false
  end
  causeway.dissector(buffer, pinfo, root)
  return true
end

local ports = DissectorTable.get("udp.port")
local listening

local function listen()
  if listening == causeway.prefs.port then return end
  if listening then ports:remove(listening, causeway) end
  listening = causeway.prefs.port
  if listening > 0 then ports:add(listening, causeway) end
end

causeway.prefs_changed = listen
listen()
causeway:register_heuristic("udp", heuristic)
