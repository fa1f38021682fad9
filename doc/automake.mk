# Pages for operators; the manual page includes the others.
MAN_PAGES = \
	$(srcdir)/doc/install.rst \
	$(srcdir)/doc/ovs-netvsc.7.rst \
	$(srcdir)/doc/reference.rst \
	$(srcdir)/doc/troubleshooting.rst \
	$(srcdir)/doc/tuning.rst

EXTRA_DIST += \
	CONTRIBUTING.md \
	doc

if HAVE_RST2MAN
man_MANS += doc/ovs-netvsc.7
CLEANFILES += doc/ovs-netvsc.7
doc/ovs-netvsc.7: $(MAN_PAGES)
	@$(MKDIR_P) doc
	$(AM_V_GEN)$(RST2MAN) --halt=warning \
		$(srcdir)/doc/ovs-netvsc.7.rst $@
endif
