# ember::flags: warnings, hardening and sanitizers, linked PRIVATE by every target of ours.
add_library(ember_flags INTERFACE)
add_library(ember::flags ALIAS ember_flags)

target_compile_definitions(ember_flags INTERFACE _GNU_SOURCE EMBER_VERSION="${PROJECT_VERSION}")
target_compile_options(ember_flags INTERFACE
    -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
    -fno-omit-frame-pointer -fstack-protector-strong -fno-strict-aliasing)
# Frame pointers stay, so that profiles are honest; strict aliasing goes, because files are mapped
# and read in place.

if(EMBER_SANITIZE)
    target_compile_options(ember_flags INTERFACE -fsanitize=${EMBER_SANITIZE} -fno-sanitize-recover=all)
    target_link_options(ember_flags INTERFACE -fsanitize=${EMBER_SANITIZE})
elseif(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
    target_compile_options(ember_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
if(EMBER_FUZZ) # the libraries too tell the fuzzer which branches an input took
    target_compile_options(ember_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
target_link_options(ember_flags INTERFACE -Wl,-z,relro,-z,now -Wl,--as-needed)
