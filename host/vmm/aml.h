/* ACPI machine language, as much of it as one DSDT needs (ACPI specification,
 * "ACPI Machine Language").  Each function returns the bytes of one term. */

#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

namespace netvsc::host::vmm::aml {

using Term = std::vector<std::byte>;

[[nodiscard]] Term concat(std::initializer_list<Term> terms);
[[nodiscard]] Term integer(uint32_t value);
[[nodiscard]] Term string(std::string_view text);
/* "PNP0501" as the integer that firmware writes for it. */
[[nodiscard]] Term eisa_id(std::string_view id);
[[nodiscard]] Term package(std::initializer_list<Term> elements);

/* A name is four characters; `\` may precede it. */
[[nodiscard]] Term name(std::string_view segment, const Term &value);
[[nodiscard]] Term scope(std::string_view segment,
                         std::initializer_list<Term> terms);
[[nodiscard]] Term device(std::string_view segment,
                          std::initializer_list<Term> terms);

/* Resource descriptors, and the buffer that holds them and their end tag. */
[[nodiscard]] Term io_ports(uint16_t first, uint8_t count);
[[nodiscard]] Term irq(unsigned line);
[[nodiscard]] Term memory_window(uint32_t first, uint32_t last);
[[nodiscard]] Term resources(std::initializer_list<Term> descriptors);

} // namespace netvsc::host::vmm::aml
