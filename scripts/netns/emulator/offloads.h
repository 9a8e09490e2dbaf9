// Turns off what makes an interface take packets larger than its MTU from the stack above it; the stack then segments in software.
// Checksums may stay with the device, see port.h.
#pragma once

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "port.h"

class FeatureList {
 public:
  explicit FeatureList(const std::string& interface) : interface_(interface), fd_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    if (fd_ < 0) throw system_error("socket");
    alignas(ethtool_sset_info) uint8_t memory[sizeof(ethtool_sset_info) + sizeof count_]{};
    auto* info = reinterpret_cast<ethtool_sset_info*>(memory);
    info->cmd = ETHTOOL_GSSET_INFO;
    info->sset_mask = 1ull << ETH_SS_FEATURES;
    call(info);
    memcpy(&count_, memory + sizeof *info, sizeof count_);
  }
  FeatureList(const FeatureList&) = delete;
  FeatureList& operator=(const FeatureList&) = delete;
  ~FeatureList() { close(fd_); }

  void segmentation_off() {
    std::vector<uint8_t> memory(sizeof(ethtool_gstrings) + count_ * ETH_GSTRING_LEN);
    auto* names = reinterpret_cast<ethtool_gstrings*>(memory.data());
    names->cmd = ETHTOOL_GSTRINGS;
    names->string_set = ETH_SS_FEATURES;
    names->len = count_;
    call(names);
    uint32_t blocks = (count_ + 31) / 32;
    std::vector<uint8_t> present(sizeof(ethtool_gfeatures) + blocks * sizeof(ethtool_get_features_block));
    auto* features = reinterpret_cast<ethtool_gfeatures*>(present.data());
    features->cmd = ETHTOOL_GFEATURES;
    features->size = blocks;
    call(features);
    std::vector<uint8_t> wanted(sizeof(ethtool_sfeatures) + blocks * sizeof(ethtool_set_features_block));
    auto* change = reinterpret_cast<ethtool_sfeatures*>(wanted.data());
    change->cmd = ETHTOOL_SFEATURES;
    change->size = blocks;
    for (uint32_t i = 0; i < count_; i++) {
      uint32_t bit = 1u << (i % 32);
      const auto* name = reinterpret_cast<const char*>(names->data + i * ETH_GSTRING_LEN);
      if (segments(name) && (features->features[i / 32].available & bit) != 0) change->features[i / 32].valid |= bit;
    }
    call(change);
  }

 private:
  // Of a device. "tx-generic-segmentation" is the stack's own, in software, and may stay.
  static bool segments(const std::string& name) {
    return name.rfind("tx-", 0) == 0 && name != "tx-generic-segmentation" &&
           (name.find("segmentation") != std::string::npos || name.rfind("tx-gso-", 0) == 0);
  }

  void call(void* data) {
    ifreq request{};
    strncpy(request.ifr_name, interface_.c_str(), IFNAMSIZ - 1);
    request.ifr_data = static_cast<char*>(data);
    if (ioctl(fd_, SIOCETHTOOL, &request) < 0) throw system_error(interface_ + ": offloads");
  }

  std::string interface_;
  int fd_;
  uint32_t count_ = 0;
};
