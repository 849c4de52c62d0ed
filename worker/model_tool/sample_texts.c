/* sample_texts.c - what people write to a shop, a bank, a help desk; and some prose. */
#include "sample_texts.h"

const char *const sample_texts[] = {
    "Where is my parcel?",
    "refund please",
    "How do I change the delivery address after I have ordered?",
    "The screen was cracked when I opened the box, and nobody answers the phone.",
    "Thank you, the technician was friendly and quick!",
    "My card was charged twice for the same order on the 3rd of May.",
    "Can I book a table for six on Friday evening, near the window if possible?",
    "cancel",
    "I forgot my password and the reset link leads to an empty page.",
    "Does the train to the airport run all night?",
    "The coffee machine leaks a little water after each cup; is that covered by the warranty?",
    "What is the weather like in Lisbon at the end of October?",
    "Please remove my data from your mailing list and confirm it in writing.",
    "A storm took down power lines along the coast, and some villages were dark until morning.",
    "The library opens at nine and closes at six, except on Wednesdays, when it stays open until "
    "eight so that people who work during the day can return their books.",
    "She planted the tomatoes too early, and the last frost of the year took all of them.",
    "To reset the device, hold both buttons for ten seconds until the light turns blue, then wait "
    "for the tone before you let go. All settings are lost, so write down the network name first.",
    "Heat moves from the warmer body to the colder one until both have the same temperature.",
    "Is this jacket waterproof, or only good for light rain?",
    "In the second half the visitors scored three goals within ten minutes and won the match.",
    "我的快递到哪里了？",
    "退款",
    "请问下单以后还能修改收货地址吗？",
    "手机屏幕收到时就是碎的，客服电话一直没有人接，我非常不满意。",
    "师傅态度很好，来得也快，给个好评！",
    "五月三号同一笔订单扣了我两次钱，麻烦查一下。",
    "想订周五晚上六个人的位子，最好靠窗。",
    "取消订单",
    "忘记密码了，点重置链接打开是空白页面。",
    "去机场的地铁晚上几点停运？",
    "咖啡机每次用完都会漏一点水，这种情况在保修范围内吗？",
    "十月底的里斯本天气怎么样，需要带厚衣服吗？",
    "建议你们把搜索框放到首页上方，现在每次都要找很久。",
    "昨夜的大风刮倒了沿海的电线杆，几个村子直到早上才恢复供电。",
    "图书馆早上九点开门，下午六点关门，周三例外，开到晚上八点，方便白天上班的人来还书。",
    "她番茄种得太早，最后一场霜把苗全冻死了。",
    "重置设备时，请同时按住两个按钮十秒，直到指示灯变蓝，听到提示音后再松手。所有设置都会清空，"
    "所以请先记下无线网络的名称和密码。",
    "热量总是从温度高的物体传到温度低的物体，直到两者温度相同。",
    "这件外套是防水的，还是只能挡小雨？",
    "下半场客队十分钟内连进三球，最终赢得了比赛。",
};

const uint32_t sample_texts_n = sizeof sample_texts / sizeof *sample_texts;
