# ember::flags: warnings, hardening and sanitizers, linked PRIVATE by every target of ours.
add_library(ember_flags INTERFACE)
add_library(ember::flags ALIAS ember_flags)

target_compile_definitions(ember_flags INTERFACE _GNU_SOURCE EMBER_VERSION="${PROJECT_VERSION}")
target_compile_options(ember_flags INTERFACE
    -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
    -fno-omit-frame-pointer -fstack-protector-strong -fstack-clash-protection -fno-strict-aliasing)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    target_compile_options(ember_flags INTERFACE -fcf-protection)
endif()
# Frame pointers stay, so that profiles are honest; strict aliasing goes, because files are mapped
# and read in place.

if(EMBER_SANITIZE)
    target_compile_options(ember_flags INTERFACE -fsanitize=${EMBER_SANITIZE} -fno-sanitize-recover=all)
    target_link_options(ember_flags INTERFACE -fsanitize=${EMBER_SANITIZE})
    target_compile_definitions(ember_flags INTERFACE EMBER_SANITIZED) # compilers do not agree on a macro
elseif(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
    # Level 3 also checks objects whose size is known when the program runs; older compilers have 2.
    if((CMAKE_C_COMPILER_ID STREQUAL "GNU" AND CMAKE_C_COMPILER_VERSION VERSION_GREATER_EQUAL 12) OR
       (CMAKE_C_COMPILER_ID STREQUAL "Clang" AND CMAKE_C_COMPILER_VERSION VERSION_GREATER_EQUAL 14))
        set(fortify 3)
    else()
        set(fortify 2)
    endif()
    target_compile_options(ember_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=${fortify})
endif()
if(EMBER_FUZZ) # the libraries too tell the fuzzer which branches an input took
    target_compile_options(ember_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
target_link_options(ember_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed)
