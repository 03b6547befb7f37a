/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Does a guest really run under KVM here? That /dev/kvm opens and answers does not say so: where
 * KVM is itself emulated for paravirtual guests (a host without VMX or SVM), it even runs small
 * pieces of code, and no stock kernel boots on it.
 */
#pragma once

#include <gio/gio.h>

/**
 * kvm_usable:
 * @reason: (out) (optional): why not, or NULL; newly allocated
 *
 * KVM is usable if /dev/kvm opens, the processor has VMX or SVM, and a virtual machine can be made
 * (it cannot while another hypervisor holds the processor's extension). Takes milliseconds and
 * cannot hang: nothing is run in that machine.
 */
gboolean kvm_usable (char **reason);

/* TRUE if @cpuinfo, in the format of /proc/cpuinfo, has vmx or svm among a processor's flags. */
gboolean kvm_cpuinfo_has_extension (const char *cpuinfo);
