/* The kernel's KVM interface, fit for C++.
 *
 * Debian 12's kernel headers declare a flexible array member through an empty
 * structure, which has size 1 in C++.  Every structure that ends in one is
 * then too long, and so is the ioctl number made from its size. */

#pragma once

/* Defines the macro that the line after it replaces. */
#include <linux/stddef.h>
#undef __DECLARE_FLEX_ARRAY
#define __DECLARE_FLEX_ARRAY(TYPE, NAME) TYPE NAME[0]

#include <linux/kvm.h>

static_assert(sizeof(kvm_cpuid2) == 8 && sizeof(kvm_irq_routing) == 8 &&
                  sizeof(kvm_msrs) == 8,
              "KVM's ioctl numbers contain these sizes");
